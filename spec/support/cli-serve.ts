import { createInterface } from 'node:readline';
import { runCommandLine } from '../../bin/command-line.ts';

/** Runs the command lines that come as JSON lines on standard input, one after another; a line with a NUL in front ends each one's output. */
for await (const line of createInterface({ input: process.stdin })) {
  const code = await runCommandLine(JSON.parse(line) as string[]);
  process.stdout.write(`\0${code}\n`);
  process.stderr.write('\0\n');
}
process.exit(0);
