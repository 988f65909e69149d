import { describe, expect, it } from '@jest/globals';
import { TestScheduler } from 'rxjs/testing';
import { type Clock, clockOf, systemClock } from '../../../lib/flow/index.ts';

/** Runs in virtual time, with a log of what happened when. */
function virtually(body: (clock: Clock, note: (what: string) => () => void) => void): string[] {
  const log: string[] = [];
  const scheduler = new TestScheduler(() => {});
  scheduler.run(({ flush }) => {
    const clock = clockOf(scheduler);
    body(clock, (what) => () => log.push(`${clock.now()} ${what}`));
    flush();
  });
  return log;
}

describe('clockOf', () => {
  it('starts virtual time at 0 and calls after the delay, once', () => {
    expect(
      virtually((clock, note) => {
        note('start')();
        clock.after(5, note('five'));
        clock.after(3, note('three'));
      }),
    ).toEqual(['0 start', '3 three', '5 five']);
  });

  it('does not call what was cancelled', () => {
    expect(
      virtually((clock, note) => {
        const cancel = clock.after(5, note('five'));
        clock.after(3, cancel);
      }),
    ).toEqual([]);
  });

  it('wakes a sleeper when its signal is aborted, and one that is aborted already at once', async () => {
    const abort = new AbortController();
    const long = systemClock.sleep(2 ** 31 - 1, abort.signal);
    abort.abort();
    await long;
    await systemClock.sleep(2 ** 31 - 1, abort.signal);
    expect(abort.signal.aborted).toBe(true);
  });

  it('wakes a sleeper by itself', async () => {
    const before = systemClock.now();
    await systemClock.sleep(1);
    expect(systemClock.now()).toBeGreaterThanOrEqual(before);
  });
});

describe('systemClock', () => {
  it('draws from 0 up to 1', () => {
    for (let i = 0; i < 100; i++) {
      const drawn = systemClock.random();
      expect(drawn >= 0 && drawn < 1).toBe(true);
    }
  });
});
