import { setTimeout as sleepForReal } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { interval, of, throwError, timer } from 'rxjs';
import { delay } from 'rxjs/operators';
import { MillraceError } from '../../../lib/errors.ts';
import { systemClock } from '../../../lib/flow/index.ts';
import { virtualTime } from '../../../lib/testing/index.ts';
import { errorOf } from '../../support/run-world.ts';

describe('virtualTime', () => {
  it('lets an hour pass in no time, promises included, and gives what the body gives', async () => {
    const log: string[] = [];
    const result = await virtualTime(
      async ({ clock }) => {
        const later = (async () => {
          await clock.sleep(1_800_000);
          log.push(`half an hour: ${clock.now()}`);
        })();
        await clock.sleep(3_600_000);
        await later;
        return clock.now();
      },
      { maxMs: 4_000_000 },
    );
    expect(log).toEqual(['half an hour: 1800000']);
    expect(result).toBe(3_600_000);
  });

  it('gives time on when the body advances it, and no more than that', () =>
    virtualTime(async ({ clock }) => {
      const due: number[] = [];
      for (const ms of [5, 10, 15]) clock.after(ms, () => due.push(ms));
      await clock.advance(10);
      expect(due).toEqual([5, 10]);
      expect(clock.now()).toBe(10);
      await clock.settle();
      await clock.settle();
      expect(clock.now()).toBe(10);
      await clock.advance(5);
      expect(due).toEqual([5, 10, 15]);
    }));

  it('has a context on its clock, for RxJS operators too', () =>
    virtualTime(async ({ clock, context }) => {
      const seen: string[] = [];
      of('a')
        .pipe(delay(20, context.clock.scheduler))
        .subscribe((value) => seen.push(`${clock.now()} ${value}`));
      await clock.advance(20);
      expect(seen).toEqual(['20 a']);
    }));

  it.each<[string, string, () => unknown]>([
    ['setTimeout', 'setTimeout(…, 50)', () => setTimeout(() => {}, 50)],
    ['setInterval', 'setInterval(…, 5)', () => setInterval(() => {}, 5)],
    ['AbortSignal.timeout', 'AbortSignal.timeout(100)', () => AbortSignal.timeout(100)],
    ["RxJS's own scheduler", 'setInterval(…, 7)', () => timer(7).subscribe()],
    ['the system clock', 'setInterval(…, 9)', () => systemClock.sleep(9)],
  ])('refuses a real timer, named, with the remedy: %s', async (_, what, call) => {
    const error = await errorOf(
      virtualTime(async ({ clock }) => {
        await clock.sleep(12);
        await call();
      }),
    );
    expect(error).toMatchObject({ code: 'MR_REAL_TIMER', details: { what, nowMs: 12 } });
    expect(error.message).toContain('context.clock');
    expect(error.stack).toContain('virtual-time.spec.ts');
  });

  it('fails also when the refusal was caught on its way, or nobody waited for it', async () => {
    const swallowed = virtualTime(async ({ clock }) => {
      try {
        setTimeout(() => {}, 5);
      } catch {}
      await clock.sleep(1);
    });
    await expect(swallowed).rejects.toMatchObject({ code: 'MR_REAL_TIMER' });
    const forgotten = virtualTime(async ({ clock }) => {
      void (async () => setInterval(() => {}, 5))().catch(() => {});
      await clock.sleep(1);
    });
    await expect(forgotten).rejects.toMatchObject({ code: 'MR_REAL_TIMER' });
  });

  it('fails with what RxJS would have thrown from a timer: an error that no subscriber handles', async () => {
    const body = async ({ clock }: { clock: { sleep(ms: number): Promise<void> } }) => {
      throwError(() => new Error('nobody listens')).subscribe();
      await clock.sleep(5);
    };
    await expect(virtualTime(body)).rejects.toThrow('nobody listens');
  });

  it('gives the real timers back, also after a failure', async () => {
    const before = [setTimeout, setInterval, AbortSignal.timeout];
    await virtualTime(async () => expect(setTimeout).not.toBe(before[0]));
    expect([setTimeout, setInterval, AbortSignal.timeout]).toEqual(before);
    await expect(virtualTime(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    await expect(virtualTime(() => new Promise(() => {}))).rejects.toThrow('MR_VIRTUAL_TIME_STALLED');
    await expect(virtualTime(() => setTimeout(() => {}, 1))).rejects.toThrow('MR_REAL_TIMER');
    expect([setTimeout, setInterval, AbortSignal.timeout]).toEqual(before);
  });

  it('says that a promise never settles, and at what time that was clear', async () => {
    const stalled = virtualTime(async ({ clock }) => {
      await clock.sleep(40);
      await new Promise(() => {});
    });
    await expect(stalled).rejects.toMatchObject({
      code: 'MR_VIRTUAL_TIME_STALLED',
      details: { nowMs: 40, reason: 'nothing waits on the virtual clock' },
    });
  });

  it('says so too when something else goes on for ever beside it', async () => {
    const stalled = virtualTime(
      async ({ clock }) => {
        interval(1000, clock.scheduler).subscribe();
        await new Promise(() => {});
      },
      { maxMs: 60_000 },
    );
    await expect(stalled).rejects.toMatchObject({
      code: 'MR_VIRTUAL_TIME_STALLED',
      details: { nowMs: 60_000, reason: 'it was given 60000 ms' },
    });
  });

  it('names what is waited for outside the clock: a timer of node:timers, which nobody can refuse', async () => {
    let sleeping = Promise.resolve();
    const error = await errorOf(
      virtualTime(() => {
        sleeping = sleepForReal(30);
        return sleeping;
      }),
    );
    expect(error).toMatchObject({ code: 'MR_VIRTUAL_TIME_STALLED' });
    expect(error.details['reason']).toBe('nothing waits on the virtual clock, and outside of it wait Timeout');
    await sleeping;
  });

  it('refuses another inside, and goes on with the first', () =>
    virtualTime(async ({ clock }) => {
      await clock.sleep(7);
      const error = await errorOf(virtualTime(async () => {}));
      expect(error).toBeInstanceOf(MillraceError);
      expect(error).toMatchObject({ code: 'MR_VIRTUAL_TIME_NESTED', details: { nowMs: 7 } });
      await clock.sleep(3);
      expect(clock.now()).toBe(10);
    }));

  it('gives the same chances for the same seed', async () => {
    const draw = (seed: number) => virtualTime(({ clock }) => [clock.random(), clock.random()], { seed });
    expect(await draw(3)).toEqual(await draw(3));
    expect(await draw(3)).not.toEqual(await draw(4));
  });
});
