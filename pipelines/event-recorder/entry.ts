import { type DispatcherId, dispatcherId } from '../../lib/events/index.ts';
import type { RecordedEvent } from './event.ts';

/** An accepted event on its way. */
export interface Entry {
  readonly event: RecordedEvent;
  readonly bytes: number;
  /** All events of a recorder go one way. */
  readonly dispatcher: DispatcherId;
  /** Since when it waits: ms of the clock. */
  readonly acceptedMs: number;
}

export function entryOf(event: RecordedEvent, acceptedMs: number): Entry {
  return { event, bytes: event.bytes, dispatcher: DISPATCHER, acceptedMs };
}

const DISPATCHER = dispatcherId(1n, 0n);
