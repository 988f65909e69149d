import { acceptEvent } from '../../../pipelines/event-recorder/accept-event.ts';
import type { EventGroup, EventHints, EventInput, RecordedEvent } from '../../../pipelines/event-recorder/event.ts';

/** 2026-11-22T05:45:49.123456789Z */
export const NOON_NS = 1_795_326_349_123_456_789n;
export const HINTS: EventHints = { ttl: null, appendMode: true, timeWindow: '1d' };

/** An accepted event; `seq` gives it its id and, where it has none, its time. */
export function accepted(input: EventInput, seq = 1n): RecordedEvent {
  return acceptEvent(input, { id: `e${String(seq).padStart(4, '0')}`, seq, timestampNs: NOON_NS + seq });
}

/** A group of `inputs`, with the table and type of the first. */
export function groupOf(
  inputs: readonly EventInput[],
  { hints = HINTS, from = 1n }: { hints?: EventHints; from?: bigint } = {},
): EventGroup {
  const events = inputs.map((input, index) => accepted(input, from + BigInt(index)));
  const { table, type } = events[0]!;
  return { table, type, events, hints };
}

/** A signal that is never aborted, for a first attempt. */
export const FIRST_TRY = { signal: new AbortController().signal, attempt: 1 };

/** Everything that is iterated. */
export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}
