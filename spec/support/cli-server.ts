import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { CliResult } from './cli.ts';

const SERVE = fileURLToPath(new URL('./cli-serve.ts', import.meta.url));

/** The command line in one process that runs many command lines, one at a time: for tables of cases, where a start for each would take most of the time. */
export class CliServer {
  readonly #child: ChildProcess;
  readonly #output = { stdout: '', stderr: '' };
  #last: Promise<unknown> = Promise.resolve();
  #hear: () => void = () => {};

  constructor(options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {}) {
    this.#child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), '--no-warnings', SERVE], {
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: { ...process.env, NODE_OPTIONS: '', ...options.env },
    });
    for (const name of ['stdout', 'stderr'] as const) {
      this.#child[name]!.on('data', (chunk: Buffer) => {
        this.#output[name] += chunk.toString();
        this.#hear();
      });
    }
    this.#child.once('exit', () => this.#hear());
  }

  readonly cli = (args: readonly string[]): Promise<CliResult> => {
    const result = this.#last.then(() => this.#run(args));
    this.#last = result.catch(() => {});
    return result;
  };

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }

  async #run(args: readonly string[]): Promise<CliResult> {
    this.#child.stdin!.write(`${JSON.stringify(args)}\n`);
    for (;;) {
      const [stdout, stderr] = [/^([^\0]*)\0(\d+)\n/.exec(this.#output.stdout), /^([^\0]*)\0\n/.exec(this.#output.stderr)];
      if (stdout !== null && stderr !== null) {
        Object.assign(this.#output, { stdout: '', stderr: '' });
        return { code: Number(stdout[2]), stdout: stdout[1]!, stderr: stderr[1]! };
      }
      if (this.#child.exitCode !== null) throw new Error(`millrace ${args.join(' ')} ended the process: ${this.#output.stderr}`);
      await new Promise<void>((resolve) => {
        this.#hear = resolve;
      });
    }
  }
}
