import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { runCommandLine } from '../../bin/command-line.ts';

export const CLI = fileURLToPath(new URL('../../bin/millrace.ts', import.meta.url));

const COMPILED = fileURLToPath(new URL('../../node_modules/.cache/millrace-cli/dist/bin/millrace.js', import.meta.url));

/** How Node is to start it: compiled (`compile-cli.mjs`) where it is; definitions in TypeScript, which `describe` takes, need the loader. */
function startArguments([command]: readonly string[], nodeOptions: readonly string[]): string[] {
  if (command !== 'describe' && existsSync(COMPILED)) return [...nodeOptions, COMPILED];
  return ['--import', 'tsx', ...nodeOptions, CLI];
}

export interface CliResult {
  /** Null when it was killed. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command line in a process of its own, as a user runs it. */
export function startCli(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  nodeOptions: readonly string[] = ['--no-warnings'],
): { readonly child: ChildProcess; readonly result: Promise<CliResult> } {
  const child = spawn(process.execPath, [...startArguments(args, nodeOptions), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '', ...env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const result = new Promise<CliResult>((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
  return { child, result };
}

export function cli(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<CliResult> {
  return startCli(args, env).result;
}

/** The same in this process: quicker, for commands that nothing ends. */
export async function cliHere(args: readonly string[]): Promise<CliResult> {
  const texts = { stdout: '', stderr: '' };
  const collect = (name: 'stdout' | 'stderr') =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        texts[name] += chunk.toString();
        done();
      },
    });
  const code = await runCommandLine(args, { stdout: collect('stdout'), stderr: collect('stderr') });
  return { code, ...texts };
}

/** The verdicts that `verify` printed, by table. */
export function verdictsOf(stdout: string): Record<string, string> {
  const lines = stdout.split('\n').filter((line) => line.includes('\t'));
  return Object.fromEntries(
    lines.map((line) => {
      const [table, verdict, source, rebuilt, difference] = line.split('\t');
      return [
        table,
        verdict === 'identical' && source === rebuilt
          ? 'identical'
          : `${verdict}: ${source} in the source, ${rebuilt} rebuilt: ${difference}`,
      ];
    }),
  );
}
