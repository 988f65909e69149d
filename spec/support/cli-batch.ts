import { runCommandLine } from '../../bin/command-line.ts';

/**
 * Runs command lines (a JSON array of argument lists) one after another in this process, and prints what came of each. For those that are wrong usage:
 * whatever writes to a file descriptor past the process's streams, as a run's log does, is not caught.
 */
const { stdout, stderr } = process;
const write = stdout.write.bind(stdout);
const results: { code: number; stdout: string; stderr: string }[] = [];
for (const args of JSON.parse(process.argv[2]!) as string[][]) {
  const result = { code: 0, stdout: '', stderr: '' };
  stdout.write = (text: unknown) => {
    result.stdout += String(text);
    return true;
  };
  stderr.write = (text: unknown) => {
    result.stderr += String(text);
    return true;
  };
  result.code = await runCommandLine(args);
  results.push(result);
}
stdout.write = write;
stdout.write(JSON.stringify(results), () => process.exit(0));
