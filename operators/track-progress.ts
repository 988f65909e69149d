import { tap } from 'rxjs';
import { operator, type Stage } from '../lib/flow/index.ts';

/**
 * Registers what arrives at a sink, so that its acks move the checkpoint.
 *
 * In plain words: from here on the run waits for every one of these changes.
 *
 * ![trackProgress](../docs/operators/track-progress.svg)
 *
 * A whole delivery is registered before any of it moves on: a fast flush of its first event must not expose a checkpoint behind its second (spec
 * storage-sink §3). It stands once, where deliveries arrive in the sink: what stages dropped before it is never waited for (I7), and events are not
 * made anew behind it, or their acks would be lost.
 *
 * @example
 * ```ts
 * import { createContext } from 'millrace';
 * import { trackProgress } from 'millrace/operators';
 * import { deliveryOf } from 'millrace/testing';
 * import { of } from 'rxjs';
 *
 * const context = createContext();
 * of(deliveryOf('a@5 res@7')).pipe(trackProgress().withContext(context)).subscribe();
 * console.log(context.progress.checkpointTs); // as long as the rows of 5 are not flushed
 * // → 4n
 * ```
 *
 * @returns a stage that passes deliveries on as they are. The progress is the context's.
 */
export function trackProgress(): Stage {
  return operator('trackProgress', {}, ({ progress }) => tap((delivery) => progress.register(delivery)));
}
