import { encodeThreads } from './encode-threads.ts';
import { drain, snapshot } from './end-to-end.ts';
import { runNode } from './measured-process.ts';
import { memory } from './memory.ts';
import { recorder } from './recorder.ts';
import { writeResults } from './results.ts';
import { sink } from './sink.ts';
import { sinkMemory } from './sink-memory.ts';

// `npm run bench` runs all parts; `npm run bench -- formats snapshot` those named; with `--write` their results go into README.md.
const PARTS: Readonly<Record<string, () => Promise<string>>> = {
  formats: () => inProcess('formats'),
  'drain-1': () => drain(1, 200_000),
  'drain-10': () => drain(10, 40_000),
  'drain-1000': () => drain(1000, 1000),
  snapshot,
  operators: () => inProcess('operators'),
  spool: () => inProcess('spool'),
  sink,
  dispatchers: () => inProcess('dispatchers'),
  'early-wake': () => inProcess('early-wake'),
  'sink-memory': sinkMemory,
  recorder: () => recorder(),
  'encode-threads': () => encodeThreads(),
  memory,
};

async function inProcess(part: string): Promise<string> {
  return `${(await runNode('./child-in-process.ts', [part])).join('\n')}\n`;
}

const asked = process.argv.slice(2).filter((argument) => argument !== '--write');
const unknown = asked.filter((name) => !(name in PARTS));
if (unknown.length > 0) {
  console.error(`no bench is called ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}
for (const [name, part] of Object.entries(PARTS)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  const report = await part();
  console.log(report);
  if (process.argv.includes('--write')) await writeResults(name, report);
}
