import type { TestRunner } from '../../../lib/testing/index.ts';

/** Runs the tests of a suite where failures are what is wanted: the titles of those that fail. */
export async function failuresOf(describeIt: (runner: TestRunner) => void): Promise<string[]> {
  const tests: { title: string; body: () => Promise<void> }[] = [];
  describeIt({ describe: (_, body) => body(), it: (title, body) => tests.push({ title, body }) });
  const failures: string[] = [];
  for (const { title, body } of tests) await body().catch(() => failures.push(title));
  return failures;
}
