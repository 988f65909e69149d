/** What a conformance suite asks of a test runner: jest's globals and node:test's functions both are one. */
export interface TestRunner {
  describe(name: string, body: () => void): void;
  it(name: string, body: () => Promise<void>): void;
}

/** The runner whose functions are global, as jest's are. */
export function globalRunner(): TestRunner {
  const { describe, it } = globalThis as unknown as Partial<TestRunner>;
  if (describe === undefined || it === undefined) throw new Error('no test runner: pass { describe, it }');
  return { describe, it };
}
