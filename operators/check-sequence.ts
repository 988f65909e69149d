import { Observable } from 'rxjs';
import { ALL_DISPATCHERS, type ChangeEvent, type Delivery, type DispatcherId } from '../lib/events/index.ts';
import { link, operator, type Sessions, type Stage } from '../lib/flow/index.ts';

/**
 * Lets through what follows without a gap, and asks for a reset where something is missing.
 *
 * In plain words: the transport may lose or repeat messages; this notices, and has the service send again.
 *
 * ![checkSequence](../docs/operators/check-sequence.svg)
 *
 * A handshake (seq 1) opens an epoch of its dispatcher; each change, schema change and syncpoint is the last + 1; resolved carries the last. A gap, a
 * duplicate, a missing handshake, or a `drop` of memory control asks for one reset of the dispatcher in that epoch (spec event-collector §4.1). What
 * the dispatcher has in that delivery is then dropped, valid events included, because the reset sends it again; so is whatever follows until the
 * handshake of a newer epoch. A second handshake, one that is not seq 1, and events of an older epoch are dropped silently. Marks of all dispatchers,
 * `ready`, `notReusable` and drain markers are in no sequence and pass.
 *
 * @example
 * ```ts
 * import { checkSequence } from 'millrace/operators';
 * import { eventMarbles } from 'millrace/testing';
 *
 * eventMarbles(({ events, context, expectEvents, expectResets }) => {
 *   const source   = events('hello:a#1.1-a@5#1.2-a@7#1.4-|'); // 1.3 was lost
 *   const expected =        'hello:a#1.1-a@5#1.2---------|';
 *   const resets   =        '--------------------reset:a--';
 *   expectEvents(source.pipe(checkSequence().withContext(context))).toBe(expected);
 *   expectResets().toBe(resets);
 * });
 * ```
 *
 * @returns a stage. Resets go to the context's sessions, after the delivery has been passed on.
 * @see filterEpoch, which stands before it; dedupeCommitTs, which drops what a reset sends again.
 */
export function checkSequence(): Stage {
  return operator('checkSequence', {}, ({ sessions }) => (source) => {
    return new Observable((subscriber) => {
      const states = new Map<DispatcherId, SequenceState>();
      link(source, subscriber, {
        next: (delivery) => {
          const breaches = new Map<DispatcherId, Breach>();
          const checked = check(states, delivery, breaches);
          subscriber.next(checked);
          if (breaches.size > 0 && !subscriber.closed) requestResets(sessions, breaches);
        },
      });
    });
  });
}

/** Where the sequence of one dispatcher stands. */
export interface SequenceState {
  /** The newest epoch that was heard of; −1 before any. */
  readonly epoch: bigint;
  /** The seq of the last event accepted in it; 0 before its handshake. */
  readonly lastSeq: bigint;
  /** A reset was asked for in this epoch: nothing of it is accepted any more. */
  readonly isBroken: boolean;
}

export const NO_SEQUENCE: SequenceState = { epoch: -1n, lastSeq: 0n, isBroken: false };

export interface SequenceStep {
  readonly state: SequenceState;
  readonly verdict: 'pass' | 'drop' | 'reset';
  /** Why a reset is needed; empty otherwise. */
  readonly reason: string;
}

/** One event of a dispatcher against the state of its sequence (spec event-collector §1.3). The state moves only where the event is accepted or breaks it. */
export function sequenceStep(state: SequenceState, event: ChangeEvent): SequenceStep {
  if (event.epoch < state.epoch) return drop(state);
  const current = event.epoch > state.epoch ? { epoch: event.epoch, lastSeq: 0n, isBroken: false } : state;
  switch (event.type) {
    case 'handshake':
      // A second handshake would rewind the sequence (spec event-collector §1.3, [D]).
      if (current.isBroken || current.lastSeq !== 0n || event.seq !== 1n) return drop(state);
      return pass({ ...current, lastSeq: 1n });
    case 'dml':
    case 'ddl':
    case 'truncate':
    case 'syncpoint':
      if (current.isBroken) return drop(state);
      if (current.lastSeq === 0n) return reset(current, 'no handshake');
      if (event.seq !== current.lastSeq + 1n) return reset(current, `seq ${event.seq} after ${current.lastSeq}`);
      return pass({ ...current, lastSeq: event.seq });
    case 'resolved':
      if (current.isBroken) return drop(state);
      if (current.lastSeq === 0n) return reset(current, 'no handshake');
      if (event.seq !== current.lastSeq) return reset(current, `resolved carries seq ${event.seq} after ${current.lastSeq}`);
      return pass(current);
    case 'drop':
      if (current.isBroken) return drop(state);
      return reset(current, `memory control dropped seq ${event.droppedSeq}`);
    case 'ready':
    case 'notReusable':
    case 'marker':
      return pass(state);
  }
}

interface Breach {
  readonly epoch: bigint;
  readonly reason: string;
}

function check(states: Map<DispatcherId, SequenceState>, delivery: Delivery, breaches: Map<DispatcherId, Breach>): Delivery {
  const passed: ChangeEvent[] = [];
  for (const event of delivery.events) {
    if (!isInSequence(event)) {
      passed.push(event);
      continue;
    }
    const { state, verdict, reason } = sequenceStep(states.get(event.dispatcher) ?? NO_SEQUENCE, event);
    states.set(event.dispatcher, state);
    if (verdict === 'reset') breaches.set(event.dispatcher, { epoch: event.epoch, reason });
    if (verdict === 'pass') passed.push(event);
  }
  if (breaches.size === 0) return passed.length === delivery.events.length ? delivery : delivery.with(passed);
  return delivery.with(passed.filter((event) => !isInSequence(event) || event.epoch > (breaches.get(event.dispatcher)?.epoch ?? -1n)));
}

function isInSequence({ type, dispatcher }: ChangeEvent): boolean {
  return type !== 'ready' && type !== 'notReusable' && type !== 'marker' && dispatcher !== ALL_DISPATCHERS;
}

function requestResets(sessions: Sessions, breaches: ReadonlyMap<DispatcherId, Breach>): void {
  for (const [dispatcher, { reason }] of breaches) sessions.requestReset(dispatcher, reason);
}

function pass(state: SequenceState): SequenceStep {
  return { state, verdict: 'pass', reason: '' };
}

function drop(state: SequenceState): SequenceStep {
  return { state, verdict: 'drop', reason: '' };
}

function reset(state: SequenceState, reason: string): SequenceStep {
  return { state: { ...state, isBroken: true }, verdict: 'reset', reason };
}
