import { VirtualTimeScheduler } from 'rxjs';
import { type Clock, clockOf } from '../../lib/flow/index.ts';

/** A clock that stands still until it is told to go on. */
export interface ManualClock extends Clock {
  /** Moves time on, running on the way whatever is due. */
  advance(ms: number): void;
}

export function manualClock(): ManualClock {
  const scheduler = new VirtualTimeScheduler();
  return {
    ...clockOf(scheduler),
    advance: (ms) => {
      scheduler.schedule(() => {}, ms);
      scheduler.maxFrames = scheduler.frame + ms;
      scheduler.flush();
    },
  };
}
