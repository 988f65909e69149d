import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { EMPTY_LEVEL, type SpoolInput, type SpoolLevel, type SpoolOutput, spoolStep } from '../../../lib/spool/budget.ts';
import { limitsOf } from './world.ts';

const limits = limitsOf({ diskQuotaBytes: 1000, memoryBytes: 100, segmentBytes: 200, highEntries: 1024, lowEntries: 768 });
const level = (parts: Partial<SpoolLevel>): SpoolLevel => ({ ...EMPTY_LEVEL, ...parts });

/** spec storage-sink §2.4 */
describe('spoolStep places an entry', () => {
  it.each<[string, Partial<SpoolLevel>, number, boolean, SpoolOutput]>([
    ['in memory, while it fits there exactly', { memoryBytes: 40 }, 60, false, 'memory'],
    ['on disk, when memory would have one byte too many', { memoryBytes: 40 }, 61, false, 'disk'],
    ['on disk, up to the quota exactly', { memoryBytes: 100, fileBytes: 800, diskBytes: 500 }, 200, false, 'disk'],
    ['nowhere, one byte beyond the quota', { memoryBytes: 100, fileBytes: 800, diskBytes: 800 }, 201, false, 'wait'],
    ['nowhere, when files that hold little are in the way', { memoryBytes: 100, fileBytes: 1000, diskBytes: 1 }, 20, false, 'wait'],
    ['in memory anyway, when no quota would ever hold it', { memoryBytes: 100, fileBytes: 900, diskBytes: 900 }, 1001, false, 'oversized'],
    ['on disk, when it has exactly the quota', { memoryBytes: 100 }, 1000, false, 'disk'],
    ['nowhere, behind others that wait, though there is room', { memoryBytes: 100 }, 20, true, 'wait'],
    ['in memory, past others that wait for the disk', { memoryBytes: 40 }, 60, true, 'memory'],
    ['in memory anyway, past others that wait', { memoryBytes: 100 }, 1001, true, 'oversized'],
  ])('%s', (_, parts, bytes, isBehind, output) => {
    const before = level(parts);
    const step = spoolStep(limits, before, { type: 'enqueue', bytes, count: 1, isBehind });
    expect(step.output).toBe(output);
    const toMemory = output === 'memory' || output === 'oversized' ? bytes : 0;
    const toDisk = output === 'disk' ? bytes : 0;
    expect(step.level).toMatchObject({
      memoryBytes: before.memoryBytes + toMemory,
      diskBytes: before.diskBytes + toDisk,
      fileBytes: before.fileBytes + toDisk,
      entries: output === 'wait' ? 0 : 1,
    });
  });
});

/** spec storage-sink §2.5 */
describe('spoolStep holds and resumes', () => {
  const enqueue = (bytes: number, count = 1): SpoolInput => ({ type: 'enqueue', bytes, count, isBehind: false });
  const release = (bytes: number, count = 1): SpoolInput => ({ type: 'release', tier: 'memory', bytes, count });

  it.each<[string, Partial<SpoolLevel>, SpoolInput, boolean, SpoolOutput]>([
    ['goes on at the high mark', { memoryBytes: 0, diskBytes: 780, fileBytes: 780 }, enqueue(20), false, 'memory'],
    ['pauses one byte above it', { memoryBytes: 0, diskBytes: 780, fileBytes: 780 }, enqueue(21), true, 'memory'],
    ['counts both tiers', { memoryBytes: 100, diskBytes: 680, fileBytes: 680 }, enqueue(21), true, 'disk'],
    ['stays paused below the high mark', { memoryBytes: 10, diskBytes: 700, fileBytes: 700, isPaused: true }, enqueue(1), true, 'memory'],
    ['stays paused above the low mark', { memoryBytes: 100, diskBytes: 601, isPaused: true }, release(100), true, 'none'],
    ['resumes at the low mark', { memoryBytes: 100, diskBytes: 600, isPaused: true }, release(100), false, 'resume'],
    ['goes on at as many entries as may be', { entries: 1023 }, enqueue(1), false, 'memory'],
    ['pauses at one entry more', { entries: 1024 }, enqueue(1), true, 'memory'],
    ['pauses at one that counts as many', { entries: 1000 }, enqueue(1, 25), true, 'memory'],
    ['resumes when one that counts as many is gone', { entries: 1020, isPaused: true }, release(1, 252), false, 'resume'],
    ['stays paused while entries are many', { entries: 770, isPaused: true }, release(1), true, 'none'],
    ['resumes when they are few', { entries: 769, isPaused: true }, release(1), false, 'resume'],
    ['has nothing to resume when it did not pause', { memoryBytes: 50 }, release(50), false, 'none'],
    ['counts no entry that waits', { memoryBytes: 100, diskBytes: 700, fileBytes: 1000 }, enqueue(500), false, 'wait'],
  ])('%s', (_, parts, input, isPaused, output) => {
    const step = spoolStep(limits, level(parts), input);
    expect([step.level.isPaused, step.output]).toEqual([isPaused, output]);
  });

  it.each<[SpoolInput, Partial<SpoolLevel>]>([
    [
      { type: 'release', tier: 'memory', bytes: 9, count: 1 },
      { memoryBytes: 0, diskBytes: 5, fileBytes: 5 },
    ],
    [
      { type: 'release', tier: 'disk', bytes: 9, count: 1 },
      { memoryBytes: 5, diskBytes: 0, fileBytes: 5 },
    ],
    [
      { type: 'move', bytes: 9 },
      { memoryBytes: 0, diskBytes: 14, fileBytes: 5 },
    ],
    [
      { type: 'free', bytes: 9 },
      { memoryBytes: 5, diskBytes: 5, fileBytes: 0 },
    ],
  ])('subtracts from the tier where the entry was, never below 0: %j', (input, left) => {
    expect(spoolStep(limits, level({ memoryBytes: 5, diskBytes: 5, fileBytes: 5 }), input).level).toMatchObject(left);
  });

  it('whatever comes and goes: within its bounds, and held exactly between the marks', () => {
    const input = fc.record({ isEnqueue: fc.boolean(), bytes: fc.integer({ min: 16, max: 1100 }), pick: fc.nat() });
    fc.assert(
      fc.property(fc.array(input, { maxLength: 200 }), (inputs) => {
        let now = EMPTY_LEVEL;
        const entries: { tier: 'memory' | 'disk'; bytes: number; isOversized: boolean }[] = [];
        for (const { isEnqueue, bytes, pick } of inputs) {
          const before = now;
          if (isEnqueue) {
            const { level: after, output } = spoolStep(limits, now, enqueue(bytes));
            now = after;
            if (output !== 'wait')
              entries.push({ tier: output === 'disk' ? 'disk' : 'memory', bytes, isOversized: output === 'oversized' });
          } else if (entries.length > 0) {
            const [entry] = entries.splice(pick % entries.length, 1);
            now = spoolStep(limits, now, { type: 'release', tier: entry!.tier, bytes: entry!.bytes, count: 1 }).level;
            if (entry!.tier === 'disk') now = spoolStep(limits, now, { type: 'free', bytes: entry!.bytes }).level;
          }
          const sum = (list: typeof entries) => list.reduce((total, entry) => total + entry.bytes, 0);
          expect(now.memoryBytes).toBe(sum(entries.filter(({ tier }) => tier === 'memory')));
          expect(now.diskBytes).toBe(sum(entries.filter(({ tier }) => tier === 'disk')));
          expect(now.fileBytes).toBeLessThanOrEqual(limits.diskQuotaBytes);
          expect(sum(entries.filter(({ tier, isOversized }) => tier === 'memory' && !isOversized))).toBeLessThanOrEqual(limits.memoryBytes);
          const total = now.memoryBytes + now.diskBytes;
          if (isEnqueue && entries.length > before.entries && total > limits.highBytes) expect(now.isPaused).toBe(true);
          if (now.isPaused !== before.isPaused) expect(now.isPaused ? total > limits.highBytes : total <= limits.lowBytes).toBe(true);
        }
      }),
    );
  });
});
