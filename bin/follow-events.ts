import type { Clock } from '../lib/index.ts';
import type { StoredEvent } from '../pipelines/index.ts';

export interface FollowOptions {
  /** Reads what there is from then on, in the order of time. */
  readonly read: (sinceNs: bigint | undefined) => AsyncIterable<StoredEvent>;
  /** Where to begin. Default: with the first. */
  readonly sinceNs?: bigint | undefined;
  readonly intervalMs: number;
  readonly clock: Pick<Clock, 'now' | 'sleep'>;
  /** Aborted: it ends. */
  readonly signal: AbortSignal;
}

/**
 * What there is, then what comes, each once. Recorders write side by side and behind the events' times, so each round reads the last minutes anew: an event that
 * comes late is given when it is found, up to five minutes behind the newest. Keeps the ids of these minutes.
 */
export async function* followEvents({ read, sinceNs, intervalMs, clock, signal }: FollowOptions): AsyncGenerator<StoredEvent> {
  const given = new Map<string, bigint>();
  let pruneAt = PRUNE_MIN;
  let horizonNs = sinceNs;
  while (!signal.aborted) {
    for await (const event of read(horizonNs)) {
      if (signal.aborted) return;
      const key = `${event.row}/${event.id}`;
      if (given.has(key)) continue;
      given.set(key, event.timestampNs);
      yield event;
      // A producer may give a time that is far ahead, which must not hide what comes.
      const nowNs = BigInt(Math.trunc(clock.now())) * 1_000_000n;
      const lateNs = (event.timestampNs < nowNs ? event.timestampNs : nowNs) - LATE_NS;
      if (horizonNs === undefined || lateNs > horizonNs) horizonNs = lateNs;
      if (given.size < pruneAt) continue;
      for (const [old, timeNs] of given) if (timeNs < horizonNs) given.delete(old);
      pruneAt = 2 * given.size + PRUNE_MIN;
    }
    await clock.sleep(intervalMs, signal);
  }
}

const PRUNE_MIN = 1000;
/** A recorder with its defaults has delivered or given up an event well before. */
const LATE_NS = 5n * 60_000_000_000n;
