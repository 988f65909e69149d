import { dirname } from 'node:path';
import { makeFolderDurably, replaceDurably } from '../../lib/stores/durable-file.ts';
import type { Disk, DiskFile } from '../../lib/stores/index.ts';
import { type NodeFaults, SimDisk, type Simulation } from '../../lib/testing/index.ts';

/** A deliberate bug of the log. */
export type LogBug = 'ack before sync' | 'name not synced' | 'torn tail kept' | 'no checksum';

/**
 * A small world that shows what the simulator finds: numbers appended to a log file, each acknowledged once it is durable. After each restart the log must hold all
 * that were acknowledged, in order, and nothing that was never written; and it must get on.
 */
export async function writeAheadLog(sim: Simulation, bug: LogBug | null = null): Promise<void> {
  const faults: NodeFaults = { crashEveryMs: 100, killEveryMs: 200, downMs: [0, 50], pauseEveryMs: 200, pauseMs: [10, 100], stall: 0.01 };
  const node = sim.node('log', { faults });
  const disk = new SimDisk(sim, { node, latencyMs: [0, 2], faults: { full: 0.002, fails: 0.001, slow: 0.01, slowMs: [5, 50], torn: 0.7 } });
  let written = 0;
  let acked = 0;
  let recovered: number[] = [];
  sim.invariant('nothing acknowledged is lost', () => recovered.length >= acked || `${acked} acknowledged, ${recovered.length} in the log`);
  sim.invariant(
    'the log holds what was written',
    () => recovered.every((n, i) => n === i + 1) || `it holds ${recovered.slice(-3).join(', ')}`,
  );

  node.run(
    async () => {
      const { clock } = node;
      const log = await Log.open(node.port(disk), '/data/log', bug);
      recovered = [...log.numbers];
      // A crash may keep what was not acknowledged: it counts from now on.
      acked = Math.max(acked, recovered.length);
      written = recovered.length;
      sim.note('log', `recovered ${written}`);
      for (;;) {
        await clock.sleep(sim.between(0, 5));
        const number = ++written;
        await log.append(number);
        recovered.push(number);
        acked = number;
      }
    },
    // A disk that fails ends the process; it starts again.
    () => {
      node.kill();
    },
  );
  await sim.sleep(400);
  sim.calm();
  const before = acked;
  await sim.eventually('it gets on', () => acked > before + 20, 60_000);
}

class Log {
  readonly numbers: readonly number[];
  readonly #file: DiskFile;
  readonly #bug: LogBug | null;

  private constructor(file: DiskFile, numbers: readonly number[], bug: LogBug | null) {
    this.#file = file;
    this.numbers = numbers;
    this.#bug = bug;
  }

  static async open(disk: Disk, path: string, bug: LogBug | null): Promise<Log> {
    await makeFolderDurably(dirname(path), disk);
    const isThere = (await disk.stat(path)) !== null;
    const content = isThere ? await disk.readFile(path) : Buffer.alloc(0);
    const { numbers, bytes } = decode(content, bug !== 'no checksum');
    if (bytes < content.length && bug !== 'torn tail kept') await replaceDurably(path, `${path}.tmp`, [content.subarray(0, bytes)], disk);
    const file = await disk.open(path, 'a');
    // What a crash of the process alone left behind is not durable yet.
    await file.sync();
    if (bug !== 'name not synced') await disk.syncFolder(dirname(path));
    return new Log(file, numbers, bug);
  }

  async append(number: number): Promise<void> {
    await this.#file.write([encode(number)]);
    if (this.#bug !== 'ack before sync') await this.#file.sync();
  }
}

const RECORD_BYTES = 12;

function encode(number: number): Buffer {
  const record = Buffer.alloc(RECORD_BYTES);
  record.writeUInt32BE(number, 0);
  record.writeUInt32BE(number * 7, 4);
  record.writeUInt32BE(checksumOf(number), 8);
  return record;
}

/** The numbers of all whole records, and how long they are. */
function decode(content: Buffer, checks: boolean): { numbers: number[]; bytes: number } {
  const numbers: number[] = [];
  let at = 0;
  for (; at + RECORD_BYTES <= content.length; at += RECORD_BYTES) {
    const number = content.readUInt32BE(at);
    if (checks && (content.readUInt32BE(at + 8) !== checksumOf(number) || content.readUInt32BE(at + 4) !== number * 7)) break;
    numbers.push(number);
  }
  return { numbers, bytes: at };
}

function checksumOf(number: number): number {
  return (Math.imul(number, 0x9e3779b1) ^ 0x5bd1e995) >>> 0;
}
