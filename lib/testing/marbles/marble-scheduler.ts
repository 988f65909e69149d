import { TestScheduler } from 'rxjs/testing';
import { MillraceError } from '../../errors.ts';

/** RxJS's `TestScheduler`, for streams that never end: its own goes on for ever, and no test runner can stop it. */
export class MarbleScheduler extends TestScheduler {
  #steps = 0;

  constructor() {
    super(() => {});
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
