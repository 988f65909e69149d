import { tap } from 'rxjs';
import type { DrainMarker } from '../../../lib/events/index.ts';
import { compose, operator } from '../../../lib/flow/index.ts';
import type { Sink } from '../../../lib/index.ts';
import type { Entry } from '../../../lib/spool/entry.ts';
import { SimDisk, type SimNode, type Simulation } from '../../../lib/testing/index.ts';
import type { SINK_OPERATORS } from '../../../pipelines/cloud-storage-sink/cloud-storage.ts';
import type { SpooledRows } from '../../../pipelines/cloud-storage-sink/rows/spool-rows.ts';
import type { CloudStorageOptions } from '../../../pipelines/index.ts';
import type { SpoolPlan } from './plan.ts';
import type { Rule } from './rules.ts';

/** The disk of a capture's spool, which holds nothing else, and what must hold of it: it is looked at from outside, not through the spool. */
export class SpoolWatch {
  readonly disk: SimDisk;
  /** What the sink is told of its spool. */
  readonly options: Partial<CloudStorageOptions>;
  readonly #plan: SpoolPlan;
  readonly #broken: (rule: Rule, reason: string) => void;

  constructor(sim: Simulation, node: SimNode, plan: SpoolPlan, broken: (rule: Rule, reason: string) => void) {
    const { memoryBytes, diskQuotaBytes, capacityBytes, latencyMs, faults } = plan;
    this.disk = new SimDisk(sim, { name: 'spool', node, capacityBytes, latencyMs, faults });
    this.options = { spoolMemory: memoryBytes, spoolDiskQuota: diskQuotaBytes, spoolBaseDir: SPOOL_FOLDER };
    this.#plan = plan;
    this.#broken = broken;
    // What a write leaves that fails in its midst is no part of what the spool knows of.
    const isExact = !faults.fails && !faults.full && capacityBytes >= diskQuotaBytes;
    if (isExact) sim.invariant('the spool', () => this.#keepsQuota());
  }

  /** The sink as it is; what its spool has found is looked at as it opens. */
  sink(sink: Sink): Sink {
    return {
      ...sink,
      open: async (context) => {
        const opened = await sink.open(context);
        const { usedBytes } = this.disk;
        if (usedBytes > 0) this.#broken('spool', `${usedBytes} bytes of an earlier run are there when the sink is open`);
        return opened;
      },
    };
  }

  /**
   * I4, of rows that found a place as they came: in memory their enqueue acks run in the order in which they came, and so do those of rows that went to disk. Between the two
   * there is no order: what is in memory does not wait for the disk.
   */
  ackWatch(spoolRows: typeof SINK_OPERATORS.spoolRows): typeof SINK_OPERATORS.spoolRows {
    return (spool) => {
      const lines = { memory: new AckLine(), disk: new AckLine() };
      const watch = operator<SpooledRows | DrainMarker, SpooledRows | DrainMarker>('spoolWatch', {}, () =>
        tap((item) => {
          if (item.type === 'marker') return;
          const entry = item.entry as Entry;
          const isInTurn = lines[entry.state === 'memory' ? 'memory' : 'disk'].add(entry);
          entry.ack.addPostEnqueue(() => {
            if (!isInTurn()) this.#broken('fifo', 'rows are enqueue-acked while earlier ones beside them are held');
          });
        }),
      );
      return compose('spoolRows', spoolRows(spool), watch);
    };
  }

  /** Whether what the disk does explains that a run failed so. */
  explains(code: string): boolean {
    const { fails, full, syncFails, corrupts } = this.#plan.faults;
    if (code === 'MR_SPOOL_CORRUPT') return Boolean(corrupts);
    if (code === 'MR_SPOOL_FAILED') return Boolean(fails);
    // A folder cannot be made on a disk that is full.
    if (code === 'MR_SPOOL_UNUSABLE') return Boolean(fails || full || syncFails);
    // Whoever is slow to close still has the folder, and so has a run that was stopped while its sink was opening.
    return code === 'MR_STATE_LOCKED';
  }

  /** The last run has ended, and nothing went wrong at its end. */
  async ended(pipeline: string): Promise<void> {
    const folder = `${SPOOL_FOLDER}/${pipeline}`;
    if (this.disk.usedBytes > 0) this.#broken('spool', `${this.disk.usedBytes} bytes are left behind the last stop`);
    else if ((await this.disk.stat(folder)) !== null) this.#broken('spool', `${folder} is left behind the last stop`);
  }

  #keepsQuota(): boolean {
    const { usedBytes } = this.disk;
    if (usedBytes > this.#plan.diskQuotaBytes)
      this.#broken('spool', `${usedBytes} bytes are on disk, and the quota is ${this.#plan.diskQuotaBytes}`);
    return true;
  }
}

/** Rows that went the same way, in order. */
class AckLine {
  readonly #entries: { readonly entry: Entry; isAcked: boolean }[] = [];
  /** All before are acked, or have had to wait for the disk since. */
  #head = 0;

  /** The result says, at its ack, whether it is its turn. A flush acks whatever it flushes. */
  add(entry: Entry): () => boolean {
    const index = this.#entries.length;
    const own = { entry, isAcked: false };
    this.#entries.push(own);
    return () => {
      own.isAcked = true;
      for (
        let next = this.#entries[this.#head];
        next !== undefined && (next.isAcked || hasWaited(next.entry));
        next = this.#entries[this.#head]
      )
        this.#head++;
      return entry.isFlushed || hasWaited(entry) || this.#head > index;
    };
  }
}

function hasWaited({ state, waitingSinceMs }: Entry): boolean {
  return state === 'waiting' || waitingSinceMs !== 0;
}

const SPOOL_FOLDER = '/spool';
