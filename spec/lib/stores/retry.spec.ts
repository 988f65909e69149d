import { describe, expect, it } from '@jest/globals';
import { retryTransient } from '../../../lib/stores/retry.ts';
import { instantClock } from '../../support/instant-clock.ts';

const policy = (clock = instantClock()) => ({ clock, retries: 5, baseMs: 100, capMs: 500, signal: new AbortController().signal });
const always = () => true;

describe('retryTransient', () => {
  it('gives the first success, and waits for nothing before it', async () => {
    const clock = instantClock();
    expect(await retryTransient(async () => 'done', always, policy(clock))).toBe('done');
    expect(clock.sleptMs).toEqual([]);
  });

  it('repeats what may pass, each time after at most twice the wait before, up to the cap', async () => {
    const clock = instantClock();
    const result = retryTransient(
      async (attempts) => {
        if (attempts <= 5) throw new Error(`attempt ${attempts}`);
        return attempts;
      },
      always,
      policy(clock),
    );
    expect(await result).toBe(6);
    expect(clock.sleptMs).toHaveLength(5);
    for (const [i, most] of [100, 200, 400, 500, 500].entries()) {
      expect(clock.sleptMs[i]).toBeGreaterThanOrEqual(0);
      expect(clock.sleptMs[i]).toBeLessThanOrEqual(most);
    }
  });

  it.each([
    [0, [0, 0, 0, 0, 0]],
    [0.5, [50, 100, 200, 250, 250]],
    [0.999, [100, 200, 400, 500, 500]],
  ])('full jitter: waits for any part of what it may, chance %f', async (chance, sleptMs) => {
    const clock = { ...instantClock(), random: () => chance };
    await expect(retryTransient(() => Promise.reject(new Error('away')), always, policy(clock))).rejects.toThrow('away');
    expect(clock.sleptMs).toEqual(sleptMs);
  });

  it('throws the last failure when it has been repeated often enough', async () => {
    const failing = retryTransient((attempts) => Promise.reject(new Error(`attempt ${attempts}`)), always, policy());
    await expect(failing).rejects.toThrow('attempt 6');
  });

  it('does not repeat what will not pass', async () => {
    const clock = instantClock();
    await expect(
      retryTransient(
        () => Promise.reject(new Error('no')),
        () => false,
        policy(clock),
      ),
    ).rejects.toThrow('no');
    expect(clock.sleptMs).toEqual([]);
  });

  it('gives up at once when it is told to while it waits, because a stop is not to hang on a store that is away', async () => {
    const stop = new AbortController();
    const clock = { ...instantClock(), sleep: async () => stop.abort() };
    let made = 0;
    const attempt = async () => {
      made++;
      throw new Error('away');
    };
    await expect(retryTransient(attempt, always, { ...policy(), clock, signal: stop.signal })).rejects.toThrow('away');
    expect(made).toBe(1);
  });
});
