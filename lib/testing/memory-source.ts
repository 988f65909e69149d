import type { Delivery } from '../events/index.ts';
import type { OpenSource, Source, SourceContext } from '../sources/source.ts';

/** A source whose changes are given: the memory implementation of the `Source` port. */
export interface MemorySource extends Source {
  /** What the run confirmed, in order, over all runs. */
  readonly confirmed: readonly bigint[];
}

export interface MemorySourceOptions {
  readonly name?: string;
  /** Everything up to this commitTs is what `until: 'caught-up'` waits for. Default 0: nothing. */
  readonly headTs?: bigint;
  /** Whether the stream stays open behind its last delivery, as a database's does, until the run is stopped. Default false. */
  readonly staysOpen?: boolean;
  /** The deliveries of one run, made afresh for it; `checkpointTs` is where the last run got to, null at the first. */
  deliveries(checkpointTs: bigint | null): Iterable<Delivery> | AsyncIterable<Delivery>;
}

export function memorySource({ name = 'memory', headTs = 0n, staysOpen = false, deliveries }: MemorySourceOptions): MemorySource {
  const confirmed: bigint[] = [];
  return {
    name,
    options: {},
    confirmed,
    async open({ checkpointTs, signal }: SourceContext): Promise<OpenSource> {
      let phase: 'streaming' | 'closed' = 'streaming';
      let sourceTs = checkpointTs ?? 0n;
      async function* emit() {
        for await (const delivery of deliveries(checkpointTs)) {
          if (signal.aborted) return;
          for (const event of delivery.events) if (event.type === 'resolved' && event.commitTs > sourceTs) sourceTs = event.commitTs;
          yield delivery;
        }
        if (staysOpen && !signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      }
      return {
        identity: { source: name },
        deliveries: emit(),
        headTs,
        confirm: (ts) => void confirmed.push(ts),
        status: () => ({ phase, sourceTs, tables: new Map() }),
        close: async () => {
          phase = 'closed';
        },
      };
    },
  };
}
