import assert from 'node:assert/strict';
import { interval, type Subscription, take } from 'rxjs';
import type { Clock } from '../flow/index.ts';
import { globalRunner, type TestRunner } from './runner.ts';

export interface ClockFixture {
  readonly clock: Clock;
  /** Lets so many ms of this clock's time pass, or a little more, and what they set off. */
  pass(ms: number): Promise<void>;
}

/**
 * What every clock must do. `make` gives one for each test.
 *
 * @param runner functions of the test runner. Default: the global ones.
 */
export function describeClock(name: string, make: () => Promise<ClockFixture>, runner: TestRunner = globalRunner()): void {
  const it = (title: string, body: (clock: Clock, pass: ClockFixture['pass']) => Promise<void>) =>
    runner.it(title, async () => {
      const fixture = await make();
      await body(fixture.clock, (ms) => fixture.pass(ms));
    });

  runner.describe(`clock: ${name}`, () => {
    it('calls once, in the order of time, then of asking, and never at once', async (clock, pass) => {
      const log: string[] = [];
      clock.after(30, () => log.push('last'));
      clock.after(10, () => log.push('one'));
      clock.after(10, () => log.push('two'));
      clock.after(0, () => log.push('first'));
      assert.deepEqual(log, []);
      await pass(60);
      assert.deepEqual(log, ['first', 'one', 'two', 'last']);
      await pass(60);
      assert.equal(log.length, 4);
    });

    it('has moved on by what has passed, for its scheduler too', async (clock, pass) => {
      const before = clock.now();
      await pass(20);
      // Node may be a millisecond early.
      assert.ok(clock.now() - before >= 19);
      const times = [clock.now(), clock.scheduler.now(), clock.now()];
      assert.deepEqual(
        times,
        times.toSorted((a, b) => a - b),
      );
    });

    it('does not call what was cancelled, and does not mind a second time, or when it is too late', async (clock, pass) => {
      const log: string[] = [];
      const never = clock.after(10, () => log.push('never'));
      const early = clock.after(1, () => {
        log.push('early');
        early();
      });
      never();
      never();
      await pass(30);
      early();
      assert.deepEqual(log, ['early']);
    });

    it('takes what is asked for while it calls', async (clock, pass) => {
      const log: string[] = [];
      const cancelled = clock.after(20, () => log.push('cancelled'));
      clock.after(5, () => {
        cancelled();
        clock.after(5, () => log.push('later'));
      });
      await pass(50);
      assert.deepEqual(log, ['later']);
    });

    it('wakes a sleeper in time, or at once when its signal is aborted, before or meanwhile', async (clock, pass) => {
      const woken: string[] = [];
      const sleep = (who: string, ms: number, signal?: AbortSignal) => void clock.sleep(ms, signal).then(() => woken.push(who));
      const stop = new AbortController();
      sleep('short', 10);
      sleep('long', A_MINUTE_MS, stop.signal);
      sleep('never begun', A_MINUTE_MS, AbortSignal.abort());
      try {
        await null;
        assert.deepEqual(woken, ['never begun']);
        await pass(30);
        assert.deepEqual(woken, ['never begun', 'short']);
      } finally {
        stop.abort();
      }
      await null;
      assert.deepEqual(woken, ['never begun', 'short', 'long']);
    });

    it('waits for longer than a timer of Node can count', async (clock, pass) => {
      const log: string[] = [];
      const cancel = clock.after(A_MONTH_MS, () => log.push('at once'));
      await pass(20);
      cancel();
      assert.deepEqual(log, []);
    });

    it('carries RxJS operators by its scheduler, and lets go of what is unsubscribed', async (clock, pass) => {
      const ticks: number[] = [];
      let unsubscribed = 0;
      const ticking = interval(5, clock.scheduler)
        .pipe(take(3))
        .subscribe((tick) => ticks.push(tick));
      const once: Subscription = interval(5, clock.scheduler).subscribe(() => {
        unsubscribed++;
        once.unsubscribe();
      });
      await pass(100);
      ticking.unsubscribe();
      once.unsubscribe();
      assert.deepEqual([ticks, unsubscribed], [[0, 1, 2], 1]);
    });

    it('draws from 0 up to 1, another each time', async (clock) => {
      const drawn = Array.from({ length: 100 }, () => clock.random());
      assert.ok(drawn.every((number) => number >= 0 && number < 1));
      assert.ok(new Set(drawn).size > 90);
    });
  });
}

const A_MINUTE_MS = 60_000;
const A_MONTH_MS = 30 * 86_400_000;
