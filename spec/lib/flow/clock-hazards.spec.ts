import { describe, expect, it } from '@jest/globals';
import { queueScheduler, VirtualTimeScheduler } from 'rxjs';
import { clockOf } from '../../../lib/flow/index.ts';

describe('a clock', () => {
  it('sleeps no time at all on a scheduler that runs at once', async () => {
    await expect(clockOf(queueScheduler).sleep(0)).resolves.toBeUndefined();
  });

  it('waits for longer than a timer of Node can count (24.8 days), where a longer one fires at once', () => {
    const scheduler = new VirtualTimeScheduler();
    const delays: number[] = [];
    const schedule = scheduler.schedule.bind(scheduler);
    scheduler.schedule = ((work: () => void, delayMs: number, state: undefined) => {
      delays.push(delayMs);
      return schedule(work, delayMs, state);
    }) as typeof scheduler.schedule;
    const clock = clockOf(scheduler);
    const fired: number[] = [];
    clock.after(2 ** 32, () => fired.push(clock.now()));
    const cancel = clock.after(2 ** 33, () => fired.push(-1));
    clock.after(2 ** 32 + 1, cancel);
    scheduler.flush();
    expect(fired).toEqual([2 ** 32]);
    expect(Math.max(...delays)).toBeLessThan(2 ** 31);
  });
});
