import { describe, expect, it } from '@jest/globals';
import { bufferTime, interval, map, take, toArray } from 'rxjs';
import { VirtualClock } from '../../../lib/testing/index.ts';

describe('VirtualClock', () => {
  it('runs what is due in the order of time, then of asking, with the promises of each before the next', async () => {
    const clock = new VirtualClock();
    const log: string[] = [];
    const note = (what: string) => log.push(`${clock.now()} ${what}`);
    clock.after(5, () => note('b'));
    clock.after(3, async () => {
      note('a');
      for (let i = 0; i < 50; i++) await null;
      note('a, a promise later');
      await clock.sleep(1);
      note('a slept');
    });
    clock.after(5, () => note('c'));
    const cancel = clock.after(4, () => note('never'));
    cancel();
    await clock.advance(10);
    expect(log).toEqual(['3 a', '3 a, a promise later', '4 a slept', '5 b', '5 c']);
    expect(clock.now()).toBe(10);
  });

  it('carries RxJS operators, those that schedule themselves again too', async () => {
    const clock = new VirtualClock();
    const ticks = interval(10, clock.scheduler).pipe(
      take(5),
      bufferTime(25, clock.scheduler),
      map((buffer) => `${clock.now()}: ${buffer}`),
      toArray(),
    );
    const seen = await clock.until(new Promise((resolve) => ticks.subscribe(resolve)));
    expect(seen).toEqual(['25: 0,1', '50: 2,3', '50: 4']);
    expect(clock.nextMs).toBeNull();
  });

  it('lets what asks for turn after turn of the event loop come to its end, before any time passes', async () => {
    const clock = new VirtualClock();
    let turns = 0;
    const work = async () => {
      for (let i = 0; i < 100; i++) {
        await new Promise(setImmediate);
        turns++;
      }
      return turns;
    };
    clock.after(1, () => void work());
    await clock.advance(2);
    expect(turns).toBe(100);
    clock.after(1, () => expect(turns).toBe(200));
    await Promise.all([clock.until(work()), clock.settle(), clock.advance(5)]);
    expect([turns, clock.now()]).toEqual([200, 7]);
  });

  it('says that a promise waits for nothing that is on the clock', async () => {
    const clock = new VirtualClock();
    await expect(clock.until(new Promise(() => {}))).rejects.toMatchObject({ code: 'MR_VIRTUAL_TIME_STALLED' });
    const ticking = new Promise(() => interval(1000, clock.scheduler).subscribe());
    await expect(clock.until(ticking, 60_000)).rejects.toMatchObject({ code: 'MR_VIRTUAL_TIME_STALLED' });
  });

  it('says that timers set each other without end, instead of running them for ever', async () => {
    const endless = (clock: VirtualClock) => {
      const again = () => void clock.after(0, again);
      clock.after(5, again);
      return clock;
    };
    const stalled = {
      code: 'MR_VIRTUAL_TIME_STALLED',
      details: { nowMs: 5, reason: expect.stringContaining('timers have run at this instant') },
    };
    await expect(endless(new VirtualClock()).advance(10)).rejects.toMatchObject(stalled);
    await expect(endless(new VirtualClock()).until(new Promise(() => {}))).rejects.toMatchObject(stalled);
  });

  it('draws the same lots for the same seed', () => {
    const draw = (seed: number) => Array.from({ length: 5 }, new VirtualClock(seed).random);
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
  });

  it.each([
    ['after', (clock: VirtualClock) => clock.after(Number.NaN, () => {})],
    ['sleep', (clock: VirtualClock) => clock.sleep(Number.NaN)],
    ['schedule', (clock: VirtualClock) => clock.scheduler.schedule(() => {}, Number.NaN)],
    ['advance', (clock: VirtualClock) => clock.advance(Number.NaN)],
    ['advance backwards', (clock: VirtualClock) => clock.advance(-1)],
    ['advance for ever', (clock: VirtualClock) => clock.advance(Number.POSITIVE_INFINITY)],
  ])('refuses a time that is none: %s', async (_, call) => {
    const clock = new VirtualClock();
    await expect((async () => call(clock))()).rejects.toMatchObject({ code: 'MR_INVALID_OPTION' });
    expect([clock.now(), clock.nextMs]).toEqual([0, null]);
  });

  it('never comes to what is asked for after an infinite time, as a real clock would not', async () => {
    const clock = new VirtualClock();
    const log: string[] = [];
    const cancel = clock.after(Number.POSITIVE_INFINITY, () => log.push('never'));
    clock.after(Number.NEGATIVE_INFINITY, () => log.push('at once'));
    const stop = new AbortController();
    const sleeping = clock.sleep(Number.POSITIVE_INFINITY, stop.signal).then(() => log.push('woken'));
    await clock.advance(1e9);
    expect([log, clock.nextMs, clock.step()]).toEqual([['at once'], null, false]);
    cancel();
    stop.abort();
    await sleeping;
    expect(log).toEqual(['at once', 'woken']);
  });
});
