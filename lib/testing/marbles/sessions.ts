import type { SchedulerLike } from 'rxjs';
import type { DispatcherId } from '../../events/index.ts';
import type { Sessions } from '../../flow/index.ts';
import { dispatcherNamed } from './tables.ts';

/** The current epoch by table name, or sessions of one's own. */
export type MarbleSessions = Sessions | Readonly<Record<string, number | bigint>>;

/** A reset that was asked for. */
export interface Reset {
  readonly frame: number;
  readonly dispatcher: DispatcherId;
  readonly reason: string;
}

/** Sessions that write down which resets they are asked for. */
export function recordedSessions(given: MarbleSessions = {}, scheduler: SchedulerLike): { sessions: Sessions; resets: readonly Reset[] } {
  const inner = isSessions(given) ? given : sessionsOf(given);
  const resets: Reset[] = [];
  const sessions: Sessions = {
    epochOf: (dispatcher) => inner.epochOf(dispatcher),
    requestReset: (dispatcher, reason) => {
      resets.push({ frame: scheduler.now(), dispatcher, reason });
      inner.requestReset(dispatcher, reason);
    },
  };
  return { sessions, resets };
}

function isSessions(given: MarbleSessions): given is Sessions {
  return typeof given['epochOf'] === 'function';
}

function sessionsOf(epochs: Readonly<Record<string, number | bigint>>): Sessions {
  const byDispatcher = new Map(Object.entries(epochs).map(([name, epoch]) => [dispatcherNamed(name), BigInt(epoch)]));
  return { epochOf: (dispatcher) => byDispatcher.get(dispatcher) ?? 0n, requestReset: () => {} };
}
