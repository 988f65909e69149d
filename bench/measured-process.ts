import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Run } from './stats.ts';

/** Runs a bench child (the compiled form of a script of this folder), which prints one JSON line with what it measured of itself. */
export async function runChild<Measured extends Run = Run>(script: string, args: readonly string[]): Promise<Measured> {
  return JSON.parse((await runNode(script, args)).at(-1)!) as Measured;
}

/** Runs a script of this folder, compiled, and returns the lines that it printed, at least one. */
export async function runNode(script: string, args: readonly string[]): Promise<string[]> {
  const compiled = fileURLToPath(new URL(script.replace(/\.ts$/, '.js'), await compile()));
  const child = spawn(process.execPath, [compiled, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  const lines = output.trim().split('\n');
  if (code !== 0 || lines.at(-1) === '') throw new Error(`${script} ${args.join(' ')} ended with ${String(code)}: ${output}`);
  return lines;
}

/** Times another program from outside, its start included. */
export async function runProgram(command: string, args: readonly string[], env: NodeJS.ProcessEnv, rows: number): Promise<Run> {
  const start = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ...env } });
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`${command} ended with ${String(code)}`);
  return { rows, seconds: (performance.now() - start) / 1000, cpuSeconds: null, peakRssMiB: null };
}

/** In a child: measures `work`, which gives the number of rows, perhaps with other numbers, and prints the line that `runChild` reads. */
export async function measureSelf(
  work: () => Promise<number | (Readonly<Record<string, number>> & { readonly rows: number })>,
): Promise<void> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const result = await work();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const totals = typeof result === 'number' ? { rows: result } : result;
  const run: Run = { ...totals, seconds, cpuSeconds: (user + system) / 1e6, peakRssMiB: peakRssMiB() };
  process.stdout.write(`\n${JSON.stringify(run)}\n`, () => process.exit(0));
}

/** Of this process alone: what the system says of its use of resources begins with the peak of whoever started it. */
function peakRssMiB(): number {
  const status = existsSync(STATUS) ? readFileSync(STATUS, 'utf8') : '';
  const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(status) ?? [];
  return (kib === undefined ? process.resourceUsage().maxRSS : Number(kib)) / 1024;
}

/** Where there is one, on Linux. */
const STATUS = '/proc/self/status';

let compilation: Promise<URL> | null = null;

/** Once for each bench: children run what a user's process runs, without a loader in their memory and their CPU time. */
function compile(): Promise<URL> {
  compilation ??= (async () => {
    const here = new URL('./', import.meta.url);
    // Compiled already: this is the compiled bench itself.
    if (import.meta.url.endsWith('.js')) return here;
    const out = new URL('../node_modules/.cache/millrace-bench/', here);
    const tsc = new URL('../node_modules/typescript/bin/tsc', here);
    await rm(out, { recursive: true, force: true });
    await promisify(execFile)(process.execPath, [fileURLToPath(tsc), '-p', fileURLToPath(new URL('tsconfig.json', here))]);
    await writeFile(new URL('package.json', out), '{ "type": "module" }\n');
    return new URL('bench/', out);
  })();
  return compilation;
}
