import { TwoStageAck } from '../../../lib/events/index.ts';
import { Gauge, silentLogger } from '../../../lib/flow/index.ts';
import {
  Spool,
  type SpoolEntry,
  type SpoolLimitOptions,
  type SpoolLimits,
  type SpoolMessage,
  type SpoolParts,
  spoolLimits,
} from '../../../lib/spool/index.ts';
import type { Disk, DiskFile } from '../../../lib/stores/index.ts';
import { SimDisk, type SimDiskOptions, Simulation } from '../../../lib/testing/index.ts';

export const FOLDER = '/spools/orders';

/** Limits small enough to see them at work; members as `spoolLimits` takes them, or as it gives them. */
export function limitsOf(options: SpoolLimitOptions & Partial<SpoolLimits> = {}): SpoolLimits {
  return { ...spoolLimits(options), ...options };
}

/** A message of `bytes` accounting bytes (16 of them are the frame), which is recognised by its first letter. */
export function message(name: string, bytes: number, ack = new TwoStageAck(), key: Buffer | null = null): SpoolMessage {
  const valueBytes = bytes - 16 - (key?.length ?? 0);
  const cut = Math.ceil(valueBytes / 3);
  const value = Buffer.alloc(valueBytes, name);
  return { key, value: [value.subarray(0, cut), value.subarray(cut)], valueBytes, rows: 1, ack };
}

/** A spool on a simulated disk, and everything it tells. */
export class SpoolWorld {
  readonly sim = new Simulation(1);
  readonly gauge = new Gauge();
  readonly disk: SimDisk;
  /** `a` was enqueue-acked, `a!` flush-acked, in the order in which it happened. */
  readonly acks: string[] = [];
  readonly failures: unknown[] = [];
  readonly warnings: string[] = [];
  readonly waits: number[] = [];
  readonly loads: number[] = [];
  /** First letters of values whose pieces came back. */
  readonly recycled: string[] = [];
  presses = 0;
  /** Writes that were begun, whatever became of them. */
  writes = 0;
  failReads = false;
  spool!: Spool;
  #gates: (() => void)[] | null = null;

  constructor(options: SimDiskOptions = {}) {
    this.disk = new SimDisk(this.sim, options);
    this.gauge.onPressure(() => this.presses++);
  }

  static async open(limits: SpoolLimits, options: SimDiskOptions = {}): Promise<SpoolWorld> {
    const world = new SpoolWorld(options);
    world.spool = await world.openSpool(limits);
    return world;
  }

  openSpool(limits: SpoolLimits, takeFolder?: SpoolParts['takeFolder']): Promise<Spool> {
    return Spool.open({
      folder: FOLDER,
      limits,
      disk: this.#gated(),
      ...(takeFolder && { takeFolder }),
      context: {
        clock: this.sim.clock,
        gauge: this.gauge,
        logger: { ...silentLogger, warn: (_details, text) => this.warnings.push(text) },
      },
      onFailure: (error) => this.failures.push(error),
      recycle: (pieces) => this.recycled.push(pieces[0]!.toString('latin1', 0, 1)),
      observer: { waited: (ms) => this.waits.push(ms), loaded: (bytes) => this.loads.push(bytes) },
    });
  }

  /** Takes a message in; its acks are told in `acks`. */
  put(name: string, bytes: number, key: Buffer | null = null): SpoolEntry {
    return this.spool.enqueue(message(name, bytes, this.ack(name), key));
  }

  ack(name: string): TwoStageAck {
    const ack = new TwoStageAck();
    ack.addPostEnqueue(() => this.acks.push(name));
    ack.addPostFlush(() => this.acks.push(`${name}!`));
    return ack;
  }

  /** Writes hang from now on. */
  stall(): void {
    this.#gates ??= [];
  }

  /** Those that hang go on, and no further one hangs. */
  goOn(): void {
    for (const go of this.#gates ?? []) go();
    this.#gates = null;
  }

  settle(): Promise<void> {
    return this.sim.clock.settle();
  }

  async files(folder = FOLDER): Promise<string[]> {
    return (await this.disk.list(folder)).map(({ name }) => name);
  }

  /** What the disk really holds. */
  get physicalBytes(): number {
    return this.disk.usedBytes;
  }

  /** The disk, with writes that `stall` holds up. */
  #gated(): Disk {
    const { disk } = this;
    const gated = Object.create(disk) as Disk;
    const pass = async () => {
      if (this.#gates !== null) await new Promise<void>((resolve) => this.#gates!.push(resolve));
    };
    for (const name of ['readFile', 'stat', 'list', 'rename', 'remove', 'removeTree', 'makeFolder', 'syncFolder', 'lock'] as const) {
      Object.assign(gated, { [name]: (disk[name] as (...args: never[]) => unknown).bind(disk) });
    }
    gated.open = async (path, flags) => {
      const file = await disk.open(path, flags);
      const held: DiskFile = {
        write: async (pieces) => {
          await pass();
          this.writes++;
          return file.write(pieces);
        },
        read: async (position, length) => {
          if (this.failReads) throw new Error('EIO');
          return file.read(position, length);
        },
        sync: () => file.sync(),
        close: () => file.close(),
      };
      return held;
    };
    return gated;
  }
}

/** All that `read` gives, joined. */
export async function contentOf(spool: Spool, entries: readonly SpoolEntry[]): Promise<{ keys: string[]; value: string }> {
  const keys: string[] = [];
  const values: Buffer[] = [];
  for await (const chunk of spool.read(entries)) {
    keys.push(...chunk.keys.map(String));
    values.push(...chunk.values);
  }
  return { keys, value: Buffer.concat(values).toString('latin1') };
}
