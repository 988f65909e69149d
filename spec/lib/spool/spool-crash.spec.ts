import { describe, expect, it } from '@jest/globals';
import { TwoStageAck } from '../../../lib/events/index.ts';
import { Gauge, silentLogger } from '../../../lib/flow/index.ts';
import { Spool, type SpoolEntry } from '../../../lib/spool/index.ts';
import { type DiskFaults, SimDisk, type SimNode, type Simulation, simulate } from '../../../lib/testing/index.ts';
import { contentOf, FOLDER, limitsOf, message } from './world.ts';

const LIMITS = limitsOf({ diskQuotaBytes: 2000, memoryBytes: 150, segmentBytes: 200, highRatio: 0.9, lowRatio: 0.5 });

function open(node: SimNode, disk: SimDisk, onFailure: (error: unknown) => void): Promise<Spool> {
  const context = { clock: node.clock, gauge: new Gauge(), logger: silentLogger };
  return Spool.open({ folder: FOLDER, limits: LIMITS, disk: node.port(disk), context, onFailure });
}

/** One life: rows come, go to memory and disk, are read, flushed, and the spool is closed. What `life` names is in every byte. */
async function live(sim: Simulation, node: SimNode, disk: SimDisk): Promise<'done' | 'failed'> {
  let isFailed = false;
  let spool: Spool;
  try {
    spool = await open(node, disk, () => {
      isFailed = true;
    });
  } catch {
    return 'failed';
  }
  const life = node.generation % 2 === 0 ? 'x' : 'o';
  const left = (await disk.list(FOLDER)).map(({ name }) => name);
  if (left.length > 0) sim.fail('a start finds nothing of an earlier run', left.join(', '));
  const entries: SpoolEntry[] = [];
  let accepted = 0;
  for (let i = 0; i < 12 && !isFailed; i++) {
    const ack = new TwoStageAck();
    ack.addPostEnqueue(() => accepted++);
    entries.push(spool.enqueue(message(life, 60 + i, ack)));
    if (i % 4 === 3) await node.clock.sleep(5);
    if (i % 5 === 4) {
      for (const entry of entries.splice(0, 3)) {
        const value = await contentOf(spool, [entry]).then(
          (content) => content.value,
          () => null,
        );
        if (value !== null && value !== life.repeat(entry.valueBytes)) sim.fail('nothing of an earlier run is read', value);
        entry.flushed();
      }
    }
  }
  await node.clock.sleep(50);
  for (const entry of entries.splice(0)) entry.flushed();
  if (!isFailed && accepted !== 12) sim.fail('everything is accepted in the end', `${accepted} of 12`);
  await spool.close();
  return isFailed ? 'failed' : 'done';
}

async function folderOf(disk: SimDisk): Promise<string[]> {
  const folder = await disk.stat(FOLDER);
  return folder === null ? [] : (await disk.list(FOLDER)).map(({ name }) => name);
}

describe('a spool and crashes', () => {
  it.each([
    ['before', 'crash'],
    ['after', 'crash'],
    ['before', 'kill'],
    ['after', 'kill'],
  ] as const)(
    'I8: %s each call to the disk, a %s: the next start finds the folder, empties it and reads nothing of it',
    async (when, how) => {
      const stages = new Set<string>();
      let isPast = false;
      for (let at = 1; !isPast; at++) {
        for (let seed = 1; seed <= 2; seed++) {
          await simulate({
            seed,
            replay: `at ${at}, seed ${seed}`,
            world: async (sim) => {
              const node = sim.node('a');
              const disk = new SimDisk(sim, { node, latencyMs: [1, 3] });
              node.crashAtCall(at, when, how);
              let outcome = '';
              node.run(async () => {
                outcome = await live(sim, node, disk);
              });
              await sim.sleep(1000);
              isPast = node.generation === 1 && node.isUp;
              const left = await folderOf(disk);
              stages.add(isPast ? 'past' : left.length > 0 ? 'with segments' : 'without');
              if (isPast) {
                expect([outcome, left]).toEqual(['done', []]);
                return;
              }
              expect(outcome).toBe('');
              node.restart();
              await sim.sleep(1000);
              expect([outcome, await folderOf(disk)]).toEqual(['done', []]);
            },
          });
        }
      }
      expect([...stages].sort()).toEqual(['past', 'with segments', 'without']);
    },
  );

  it.each<[string, DiskFaults, number]>([
    ['that is slow', { slow: 0.2, slowMs: [1, 30] }, Number.POSITIVE_INFINITY],
    ['that is full for a while', { full: 0.1, fullMs: [1, 60] }, Number.POSITIVE_INFINITY],
    ['that fails', { fails: 0.05 }, Number.POSITIVE_INFINITY],
    ['that has room for little', {}, 450],
    ['of all that', { slow: 0.1, slowMs: [1, 30], full: 0.05, fullMs: [1, 20], fails: 0.01 }, 600],
  ])(
    'I8: on a disk %s, crashes or not, rows come back whole or fail aloud, and the folder is clean in the end',
    async (_, faults, room) => {
      for (let seed = 1; seed <= 20; seed++) {
        await simulate({
          seed,
          world: async (sim) => {
            const node = sim.node('a', { faults: { crashEveryMs: 150, killEveryMs: 200, downMs: [1, 20] } });
            const disk = new SimDisk(sim, { node, latencyMs: [0, 3], faults, capacityBytes: room });
            let lives = 0;
            node.run(async () => {
              await node.clock.sleep(1);
              await liveUnderFaults(sim, node, disk);
              lives++;
            });
            await sim.sleep(1000);
            sim.calm();
            node.crash();
            node.restart();
            const before = lives;
            await sim.eventually('a life ends well', () => lives > before, 5000);
            expect(await folderOf(disk)).toEqual([]);
          },
        });
      }
    },
  );
});

/** Under faults some of a life's entries may never be accepted: those are flushed un-acked. */
async function liveUnderFaults(sim: Simulation, node: SimNode, disk: SimDisk): Promise<void> {
  let spool: Spool;
  let isFailed = false;
  try {
    spool = await open(node, disk, () => {
      isFailed = true;
    });
  } catch {
    return;
  }
  const life = String.fromCharCode(97 + (node.generation % 26));
  const entries: SpoolEntry[] = [];
  let woken = 0;
  let sent = 0;
  for (let i = 0; i < 20 && !isFailed; i++) {
    const ack = new TwoStageAck();
    ack.addPostEnqueue(() => woken++);
    entries.push(spool.enqueue(message(life, 50 + sim.between(0, 60), ack)));
    sent++;
    if (sim.chance(0.3)) await node.clock.sleep(sim.between(0, 10));
    while (entries.length > 0 && sim.chance(0.4)) {
      const [entry] = entries.splice(sim.between(0, entries.length - 1), 1);
      const read = await contentOf(spool, [entry!]).catch((error: { code: string }) => error);
      if ('code' in read) expect(read.code).toBe('MR_SPOOL_FAILED');
      else if (read.value !== life.repeat(entry!.valueBytes)) sim.fail('what was put in comes out', read.value);
      entry!.flushed();
    }
    if (disk.usedBytes > LIMITS.diskQuotaBytes) sim.fail('the quota bounds the files', `${disk.usedBytes}`);
  }
  for (const entry of entries.splice(0)) entry.flushed();
  if (woken !== sent) sim.fail('every flush wakes', `${woken} of ${sent}`);
  await spool.close();
}
