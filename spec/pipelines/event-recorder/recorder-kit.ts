import { expect } from '@jest/globals';
import type { Context } from '../../../lib/flow/index.ts';
import { type VirtualClock, virtualTime } from '../../../lib/testing/index.ts';
import {
  type EventGroup,
  type EventHandler,
  type EventInput,
  type EventRecorder,
  type EventRecorderOptions,
  EventRejectedError,
  eventRecorder,
  type OverflowPolicy,
  type RecorderParts,
} from '../../../pipelines/index.ts';
import { addsUp } from './conservation.ts';

/** One call of a handler. */
export interface Call {
  readonly atMs: number;
  readonly attempt: number;
  readonly group: EventGroup;
  /** The payloads of its events. */
  readonly payloads: readonly unknown[];
}

/** What a handler does with a call: nothing (it takes it), throw, or whatever a promise does. */
export type Behaviour = (call: Call, signal: AbortSignal) => unknown;

/** A handler that keeps what it was told, and says when two calls run at once. */
export class ScriptedHandler implements EventHandler {
  readonly name = 'scripted';
  readonly calls: Call[] = [];
  /** Payloads of the calls that succeeded, in order. */
  readonly taken: unknown[] = [];
  running = 0;
  mostRunning = 0;
  closed = 0;
  #behaviour: Behaviour;
  readonly #clock: Context['clock'];

  constructor(clock: Context['clock'], behaviour: Behaviour = () => {}) {
    this.#clock = clock;
    this.#behaviour = behaviour;
  }

  does(behaviour: Behaviour): void {
    this.#behaviour = behaviour;
  }

  async deliver(group: EventGroup, { signal, attempt }: { signal: AbortSignal; attempt: number }): Promise<void> {
    const payloads = group.events.map(({ payload }) => JSON.parse(payload) as unknown);
    const call = { atMs: this.#clock.now(), attempt, group, payloads };
    this.calls.push(call);
    this.running++;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    try {
      await this.#behaviour(call, signal);
      this.taken.push(...payloads);
    } finally {
      this.running--;
    }
  }

  async close(): Promise<void> {
    this.closed++;
  }

  /** When each call began, and what it had. */
  get log(): [atMs: number, ...payloads: unknown[]][] {
    return this.calls.map(({ atMs, payloads }) => [atMs, ...payloads]);
  }
}

export function event(payload: unknown, type = 'test', more: Partial<EventInput> = {}): EventInput {
  return { type, payload, ...more };
}

/** Throws for a while. */
export function failing(times: number, error: () => unknown = () => new Error('target is down')): Behaviour {
  let left = times;
  return () => {
    if (left-- > 0) throw error();
  };
}

/** A refusal for good; with `names`, of the events that have these payloads. */
export function rejection({ group, payloads }: Call, names: readonly unknown[] | null = null): EventRejectedError {
  const eventIds = names === null ? null : group.events.filter((_, index) => names.includes(payloads[index])).map(({ id }) => id);
  return new EventRejectedError('bad column', { handler: 'scripted', table: group.table, type: group.type, eventIds });
}

export const never = (): Promise<never> => new Promise(() => {});

type Options<Policy extends OverflowPolicy> = Omit<EventRecorderOptions<Policy>, 'handler'>;

export interface Stage<Policy extends OverflowPolicy = 'dropNewest'> {
  readonly clock: VirtualClock;
  readonly handler: ScriptedHandler;
  readonly recorder: EventRecorder<Policy>;
}

/** Runs a test with a recorder in virtual time; whatever it did, the numbers add up then. */
export function withRecorder<Policy extends OverflowPolicy = 'dropNewest'>(
  options: Options<Policy>,
  behaviour: Behaviour,
  body: (stage: Stage<Policy>) => Promise<void>,
  parts: RecorderParts = {},
): Promise<void> {
  return virtualTime(async ({ clock }) => {
    const handler = new ScriptedHandler(clock, behaviour);
    const recorder = await eventRecorder<Policy>({ ...options, handler } as EventRecorderOptions<Policy>).open({ clock, ...parts });
    await body({ clock, handler, recorder });
    expect(addsUp(recorder.status())).toBe(true);
  });
}

export const takes: Behaviour = () => {};
export const record = (recorder: Pick<EventRecorder, 'record'>, from: number, to: number) => {
  for (let i = from; i <= to; i++) recorder.record(event(i));
};
export const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
