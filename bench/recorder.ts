import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runChild, runNode } from './measured-process.ts';
import type { Run } from './stats.ts';

const RECORDS = 10_000_000;

interface Times {
  readonly accepted: Readonly<Record<string, { ours: number; array: number; cpuNs: number; perSecond: number; spilled: number }>>;
  readonly notTaken: Readonly<Record<string, number>>;
}

interface Memory extends Run {
  readonly accepted: number;
  readonly refused: number;
  readonly dropped: number;
  readonly pending: number;
  readonly spillBytes: number;
}

/** (j): what a call of `record` costs its producer, and what a recorder keeps whose target is dead. */
export async function recorder(records = RECORDS): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-recorder-'));
  try {
    const times = JSON.parse((await runNode('./child-recorder.ts', ['time', folder])).at(-1)!) as Times;
    const memory: [string, Memory][] = [];
    for (const [policy, label] of POLICIES)
      memory.push([label, await runChild<Memory>('./child-recorder.ts', ['memory', folder, String(records), policy])]);
    return [
      '### (j) Event recorder: `record()`, and events through to a handler that takes all',
      '',
      '| event | `record()` ns | push + `JSON.stringify` ns | ratio | delivered/s | CPU ns/event | delivered/s through the spill |',
      '|---|--:|--:|--:|--:|--:|--:|',
      ...Object.entries(times.accepted).map(
        ([name, { ours, array, cpuNs, perSecond, spilled }]) =>
          `| ${name} | ${ours.toFixed(0)} | ${array.toFixed(0)} | ${(ours / array).toFixed(2)} | ${whole(perSecond)} | ${cpuNs.toFixed(0)} | ${whole(spilled)} |`,
      ),
      ...Object.entries(times.notTaken).map(([name, ns]) => `| not accepted: ${name} | ${ns.toFixed(0)} | – | – | – | – | – |`),
      '',
      `### (j) A dead target, ${whole(records)} calls of \`record()\``,
      '',
      '| | peak RSS MiB | above the first row | CPU µs/call | refused | dropped | pending | MiB on disk |',
      '|---|--:|--:|--:|--:|--:|--:|--:|',
      ...memory.map(([label, run]) => {
        const above = run.peakRssMiB! - memory[0]![1].peakRssMiB!;
        const { refused, dropped, pending, spillBytes, cpuSeconds, rows } = run;
        const cells = [run.peakRssMiB!.toFixed(0), above.toFixed(0), ((cpuSeconds! * 1e6) / rows).toFixed(2)];
        return `| ${label} | ${[...cells, ...[refused, dropped, pending].map(whole), (spillBytes / 1024 ** 2).toFixed(0)].join(' | ')} |`;
      }),
      '',
    ].join('\n');
  } finally {
    await rm(folder, { recursive: true });
  }
}

const POLICIES: readonly (readonly [policy: string, label: string])[] = [
  ['none', 'no recorder: the payloads are made, and turned into JSON'],
  ['dropNewest', '`dropNewest`'],
  ['dropOldest', '`dropOldest`'],
  ['spill', '`spill`, 256 MiB'],
];

function whole(value: number): string {
  return Math.round(value).toLocaleString('en');
}
