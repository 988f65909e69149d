import { setImmediate } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { format } from 'node:util';

/** Runs the modules whose files are its arguments, one after another, and prints for each a line of JSON: what it logged, and what it failed with. */
for (const file of process.argv.slice(2)) {
  const printed: string[] = [];
  const write = process.stdout.write;
  console.log = (...values: unknown[]) => void printed.push(format(...values));
  console.error = () => {};
  const failure = await import(pathToFileURL(file).href).then(
    () => null,
    (error: unknown) => String(error instanceof Error ? error.stack : error),
  );
  // What a settled promise still has to say.
  await setImmediate();
  await setImmediate();
  write.call(process.stdout, `${JSON.stringify({ file, printed, failure })}\n`);
}
