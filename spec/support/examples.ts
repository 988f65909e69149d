import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const ROOT = resolve(import.meta.dirname, '../..');
/** Below a folder that git ignores, yet in the repository, so that imports find its node_modules. */
export const EXAMPLES_PARENT = join(ROOT, '.millrace');

/** A block of TypeScript in a document or a doc comment. */
export interface Block {
  readonly document: string;
  /** Of its first line of code, counted from 1. */
  readonly line: number;
  readonly code: string;
}

export interface RunResult {
  readonly block: Block;
  /** What it wrote with `console.log`. */
  readonly printed: readonly string[];
  /** The stack of the error that it threw, or null. */
  readonly failure: string | null;
}

/** Every block in README.md, `docs/*.md` and the doc comments of what is published. The pages in `docs/operators` are made from those. */
export async function documentedBlocks(): Promise<Block[]> {
  const guides = (await readdir(join(ROOT, 'docs'))).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`);
  const documents = ['README.md', ...guides.sort()];
  const sources = (await Promise.all(['lib', 'operators', 'pipelines'].map(sourcesIn))).flat().sort();
  const found = await Promise.all([
    ...documents.map(async (name) => blocksOf(name, await readFile(join(ROOT, name), 'utf8'))),
    ...sources.map(async (name) => blocksOf(name, uncommented(await readFile(join(ROOT, name), 'utf8')))),
  ]);
  return found.flat();
}

/** What the compiler says of the blocks, `document:line: …`. Each is a module of its own, moved down to the line that it has in its document. */
export async function compileBlocks(dir: string, blocks: readonly Block[]): Promise<string[]> {
  await writeModules(dir, blocks);
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

/** Runs blocks that `compileBlocks` has written, one after another in one process. */
export async function runBlocks(dir: string, blocks: readonly Block[], env: NodeJS.ProcessEnv = {}): Promise<RunResult[]> {
  const files = blocks.map((block) => join(dir, fileOf(block)));
  const runner = join(import.meta.dirname, 'run-examples.ts');
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', import.meta.resolve('tsx'), '--no-warnings', runner, ...files],
    {
      cwd: dir,
      env: { ...process.env, NODE_OPTIONS: '', TSX_TSCONFIG_PATH: join(dir, 'tsconfig.json'), ...env },
    },
  );
  const lines = stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Omit<RunResult, 'block'>);
  return blocks.map((block, i) => ({ block, printed: lines[i]!.printed, failure: lines[i]!.failure }));
}

/** Writes each block as a module, and a tsconfig in which `millrace` is the source. */
export async function writeModules(dir: string, blocks: readonly Block[]): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const block of blocks) await writeFile(join(dir, fileOf(block)), `${'\n'.repeat(block.line - 1)}${block.code}export {};\n`);
  const compilerOptions = { paths: await entryPoints(), noUnusedLocals: false, noUnusedParameters: false };
  const config = { extends: join(ROOT, 'tsconfig.json'), compilerOptions, include: ['*.ts'], exclude: [] };
  await writeFile(join(dir, 'tsconfig.json'), JSON.stringify(config));
}

export function fileOf({ document, line }: Block): string {
  return `${document.replaceAll('/', '__')}__${line}.ts`;
}

/** The lines that a block says it prints: `// → …`. */
export function expectedOutput({ code }: Block): string[] {
  return [...code.matchAll(/^.*?\/\/ → (.*)$/gm)].map((match) => match[1]!);
}

function blocksOf(document: string, text: string): Block[] {
  return [...text.matchAll(/^```(?:ts|typescript)\r?\n(.*?)^```\s*$/gms)].map((match) => ({
    document,
    line: text.slice(0, match.index).split('\n').length + 1,
    code: match[1]!,
  }));
}

/** A source in which the text of doc comments begins its lines. */
function uncommented(source: string): string {
  return source.replace(/^ *\* ?(?!\/)/gm, '');
}

async function sourcesIn(folder: string): Promise<string[]> {
  const names = await readdir(join(ROOT, folder), { recursive: true });
  return names.filter((name) => name.endsWith('.ts')).map((name) => `${folder}/${name}`);
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
