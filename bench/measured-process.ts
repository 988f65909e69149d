import { spawn } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import type { Run } from './stats.ts';

/** Runs a bench child (a script of this folder), which prints one JSON line with what it measured of itself. */
export async function runChild(script: string, args: readonly string[]): Promise<Run> {
  const url = new URL(script, import.meta.url);
  const child = spawn(process.execPath, ['--import', 'tsx', url.pathname, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  const line = output.trim().split('\n').at(-1);
  if (code !== 0 || line === undefined) throw new Error(`${script} ${args.join(' ')} ended with ${String(code)}: ${output}`);
  return JSON.parse(line) as Run;
}

/** Times another program from outside. */
export async function runProgram(command: string, args: readonly string[], env: NodeJS.ProcessEnv, rows: number): Promise<Run> {
  const start = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ...env } });
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`${command} ended with ${String(code)}`);
  return { rows, seconds: (performance.now() - start) / 1000, cpuSeconds: null, peakRssMiB: null };
}

/** In a child: measures `work` and prints the line that `runChild` reads. */
export async function measureSelf(work: () => Promise<number>): Promise<void> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const rows = await work();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const run: Run = { rows, seconds, cpuSeconds: (user + system) / 1e6, peakRssMiB: process.resourceUsage().maxRSS / 1024 };
  process.stdout.write(`\n${JSON.stringify(run)}\n`, () => process.exit(0));
}
