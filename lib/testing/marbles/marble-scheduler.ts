import { TestScheduler } from 'rxjs/testing';
import { MillraceError } from '../../errors.ts';

/** RxJS's `TestScheduler`, for streams that never end: its own goes on for ever, and no test runner can stop it. */
export class MarbleScheduler extends TestScheduler {
  /** The one that runs. */
  static #running: MarbleScheduler | null = null;
  #steps = 0;

  constructor() {
    super(() => {});
  }

  /** Runs `body` with RxJS's timers on this scheduler. @throws MR_VIRTUAL_TIME_NESTED inside another: RxJS would give them back to real time at its end. */
  runAlone(body: () => void): void {
    const other = MarbleScheduler.#running;
    if (other !== null) throw new MillraceError('MR_VIRTUAL_TIME_NESTED', { nowMs: other.now() });
    MarbleScheduler.#running = this;
    try {
      this.run(body);
    } finally {
      MarbleScheduler.#running = null;
    }
  }

  /** @throws MR_MARBLES_ENDLESS */
  override flush(): void {
    const { actions } = this;
    for (let action = actions.shift(); action !== undefined; action = actions.shift()) {
      if (this.#steps++ === STEPS_MAX) throw new MillraceError('MR_MARBLES_ENDLESS', { frame: this.frame, steps: STEPS_MAX });
      this.frame = action.delay;
      const error: unknown = action.execute(action.state, action.delay);
      if (error) throw error;
    }
  }
}

/** What takes more steps than this never comes to rest: a test has a few hundred. */
const STEPS_MAX = 100_000;
