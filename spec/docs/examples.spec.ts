import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const ROOT = resolve(import.meta.dirname, '../..');
/** Below a folder that git ignores, yet in the repository, so that imports find its node_modules. */
const PARENT = join(ROOT, '.millrace');

interface Block {
  readonly document: string;
  /** Of its first line of code, counted from 1. */
  readonly line: number;
  readonly code: string;
}

/** Wrong on purpose: shows that an error is found, and where. */
const WRONG: Block = { document: 'wrong.md', line: 3, code: "import { run } from 'millrace';\n\nrun(7);\n" };

describe('the TypeScript in README.md and docs/*.md', () => {
  let dir: string;
  let blocks: Block[];
  /** What the compiler says, `document:line: …`. */
  let findings: string[];

  beforeAll(async () => {
    await mkdir(PARENT, { recursive: true });
    dir = await mkdtemp(join(PARENT, 'docs-examples-'));
    const guides = (await readdir(join(ROOT, 'docs'))).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`);
    const documents = ['README.md', ...guides.sort()];
    const found = await Promise.all(documents.map(async (name) => blocksOf(name, await readFile(join(ROOT, name), 'utf8'))));
    blocks = found.flat();
    findings = await compile(dir, [...blocks, WRONG]);
  }, 120_000);

  afterAll(async () => {
    await rm(dir, { recursive: true, force: true });
  });

  it('compiles strictly, against the sources, by the entry points of package.json', () => {
    expect(findings.filter((finding) => !finding.startsWith(WRONG.document))).toEqual([]);
  });

  it('is where a reader looks for it', () => {
    expect([...new Set(blocks.map(({ document }) => document))]).toEqual(
      expect.arrayContaining(['README.md', 'docs/concepts.md', 'docs/postgres.md', 'docs/storage-layout.md']),
    );
  });

  it('is found wrong by document and line when it is wrong', () => {
    expect(findings.filter((finding) => finding.startsWith(WRONG.document))).toEqual([
      expect.stringMatching(/^wrong\.md:5: error TS2345: /),
    ]);
  });

  it('is a pipeline in 30 lines where the README says so', () => {
    const [pipeline] = blocks.filter(({ document }) => document === 'README.md');
    expect(pipeline!.code.trimEnd().split('\n').length).toBeLessThanOrEqual(30);
  });
});

function blocksOf(document: string, text: string): Block[] {
  return [...text.matchAll(/^```(?:ts|typescript)\r?\n(.*?)^```\s*$/gms)].map((match) => ({
    document,
    line: text.slice(0, match.index).split('\n').length + 1,
    code: match[1]!,
  }));
}

/** Each block is a module of its own, moved down to the line that it has in its document. */
async function compile(dir: string, blocks: readonly Block[]): Promise<string[]> {
  const fileOf = ({ document, line }: Block) => `${document.replaceAll('/', '__')}__${line}.ts`;
  for (const block of blocks) await writeFile(join(dir, fileOf(block)), `${'\n'.repeat(block.line - 1)}${block.code}export {};\n`);
  const compilerOptions = { paths: await entryPoints(), noUnusedLocals: false, noUnusedParameters: false };
  const config = { extends: join(ROOT, 'tsconfig.json'), compilerOptions, include: ['*.ts'], exclude: [] };
  await writeFile(join(dir, 'tsconfig.json'), JSON.stringify(config));
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, '-p', dir, '--pretty', 'false'], { cwd: dir }).catch(
    (error: { stdout: string }) => error,
  );
  return stdout
    .split(/\n(?! )/)
    .filter((text) => text !== '')
    .map((text) =>
      text.replace(/^(\S+)__\d+\.ts\((\d+),\d+\)/, (_, name: string, line: string) => `${name.replaceAll('__', '/')}:${line}`),
    );
}

/** `millrace/operators` is `./dist/operators/index.js` for users, and here the source that it is built from. */
async function entryPoints(): Promise<Record<string, string[]>> {
  const { name, exports } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
    readonly name: string;
    readonly exports: Readonly<Record<string, { readonly default: string }>>;
  };
  return Object.fromEntries(
    Object.entries(exports).map(([path, entry]) => [
      join(name, path),
      [join(ROOT, entry.default.replace('./dist/', '').replace(/\.js$/, '.ts'))],
    ]),
  );
}
