import { type Clock, systemClock } from '../../lib/flow/index.ts';

/** A clock on which sleeping takes no time, and is written down. */
export function instantClock(): Clock & { readonly sleptMs: number[] } {
  const sleptMs: number[] = [];
  return { ...systemClock, sleptMs, sleep: async (delayMs) => void sleptMs.push(delayMs) };
}
