import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  type Block,
  compileBlocks,
  documentedBlocks,
  EXAMPLES_PARENT,
  expectedOutput,
  type RunResult,
  runBlocks,
} from '../support/examples.ts';

/** Wrong on purpose: shows that an error is found, and where. */
const WRONG: Block = { document: 'wrong.md', line: 3, code: "import { run } from 'millrace';\n\nrun(7);\n" };
const FAILING: Block = { document: 'failing.md', line: 1, code: "console.log(1);\nthrow new Error('no');\n" };

/** It runs in `examples.pg.spec.ts`. */
const needsDatabase = ({ code }: Block) => code.includes('DATABASE_URL');

describe('the TypeScript in README.md, docs and doc comments', () => {
  let dir: string;
  let blocks: Block[];
  /** What the compiler says, `document:line: …`. */
  let findings: string[];
  let results: RunResult[];

  beforeAll(async () => {
    await mkdir(EXAMPLES_PARENT, { recursive: true });
    dir = await mkdtemp(join(EXAMPLES_PARENT, 'docs-examples-'));
    blocks = await documentedBlocks();
    findings = await compileBlocks(dir, [...blocks, WRONG, FAILING]);
    results = await runBlocks(dir, [...blocks.filter((block) => !needsDatabase(block)), FAILING]);
  }, 120_000);

  afterAll(async () => {
    await rm(dir, { recursive: true, force: true });
  });

  it('compiles strictly, against the sources, by the entry points of package.json', () => {
    expect(findings.filter((finding) => !finding.startsWith(WRONG.document))).toEqual([]);
  });

  it('is where a reader looks for it', () => {
    expect([...new Set(blocks.map(({ document }) => document))]).toEqual(
      expect.arrayContaining(['README.md', 'docs/concepts.md', 'docs/postgres.md', 'docs/storage-layout.md', 'operators/flush-by.ts']),
    );
  });

  it('is found wrong by document and line when it is wrong', () => {
    expect(findings.filter((finding) => finding.startsWith(WRONG.document))).toEqual([
      expect.stringMatching(/^wrong\.md:5: error TS2345: /),
    ]);
  });

  it('runs without an error', () => {
    expect(results.filter(({ block, failure }) => block !== FAILING && failure !== null)).toEqual([]);
    expect(results.find(({ block }) => block === FAILING)).toMatchObject({ printed: ['1'], failure: expect.stringContaining('no') });
  });

  it('prints what its comments say', () => {
    const shown = results.filter(({ block }) => expectedOutput(block).length > 0);
    expect(shown.length).toBeGreaterThan(0);
    expect(shown.map(({ block, printed }) => [at(block), printed])).toEqual(shown.map(({ block }) => [at(block), expectedOutput(block)]));
  });

  it('is a pipeline in 30 lines where the README says so', () => {
    const [pipeline] = blocks.filter(({ document }) => document === 'README.md');
    expect(pipeline!.code.trimEnd().split('\n').length).toBeLessThanOrEqual(30);
  });
});

function at({ document, line }: Block): string {
  return `${document}:${line}`;
}
