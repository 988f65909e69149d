import { describe, expect, it } from '@jest/globals';
import { spoolLimits } from '../../../lib/spool/index.ts';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

/** spec storage-sink §2.2 */
describe('spoolLimits', () => {
  it.each([
    ['disk quota', 'diskQuotaBytes', 10 * GIB],
    ['memory tier, which is ours: upstream takes a fifth of the disk quota', 'memoryBytes', 64 * MIB],
    ['one segment', 'segmentBytes', 64 * MIB],
    ['high watermark', 'highBytes', 8 * GIB],
    ['low watermark', 'lowBytes', 6 * GIB],
  ] as const)('has the default that the table names: %s', (_, name, bytes) => {
    expect(spoolLimits()[name]).toBe(bytes);
    expect(spoolLimits({ diskQuotaBytes: 0, memoryBytes: 0, segmentBytes: 0, highRatio: 0, lowRatio: 0 })[name]).toBe(bytes);
  });

  it.each([
    ['diskQuotaBytes', { diskQuotaBytes: -1 }],
    ['memoryBytes', { memoryBytes: -5 }],
    ['segmentBytes', { segmentBytes: -64 }],
    ['diskQuotaBytes that is no number', { diskQuotaBytes: Number.NaN }],
    ['memoryBytes that is not whole', { memoryBytes: 0.5 }],
    ['highRatio below 0', { highRatio: -0.1 }],
    ['highRatio of 1', { highRatio: 1 }],
    ['lowRatio below 0', { lowRatio: -1 }],
    ['lowRatio above 1', { lowRatio: 1.5 }],
    ['low equal to high: both', { highRatio: 0.5, lowRatio: 0.5 }],
    ['low above high: both', { highRatio: 0.3, lowRatio: 0.4 }],
    ['high below the default of low: both', { highRatio: 0.5 }],
  ])('takes the default and says so for %s', (_, options) => {
    const notes: string[] = [];
    expect(spoolLimits(options, (note) => notes.push(note))).toEqual(spoolLimits());
    expect(notes).toHaveLength(1);
  });

  it('is silent about what makes sense, 0 included', () => {
    const notes: string[] = [];
    const limits = spoolLimits({ diskQuotaBytes: 0, memoryBytes: 1000, highRatio: 0.9, lowRatio: 0.1 }, (note) => notes.push(note));
    expect(limits).toMatchObject({ diskQuotaBytes: 10 * GIB, memoryBytes: 1000, highBytes: 9 * GIB, lowBytes: GIB });
    expect(notes).toEqual([]);
  });

  it('truncates shares to whole bytes', () => {
    expect(spoolLimits({ diskQuotaBytes: 1001 })).toMatchObject({ highBytes: 800, lowBytes: 600 });
  });

  it('(!) §2.2: raising the disk quota silently raises memory: it does not, the memory tier has its own bound', () => {
    expect(spoolLimits({ diskQuotaBytes: 1000 * GIB }).memoryBytes).toBe(64 * MIB);
  });

  it('bounds how many entries there are by the memory tier, since each keeps a little in memory wherever its bytes are', () => {
    expect(spoolLimits()).toMatchObject({ highEntries: 43_690, lowEntries: 32_767 });
    expect(spoolLimits({ memoryBytes: 1 })).toMatchObject({ highEntries: 16_384, lowEntries: 12_288 });
  });
});
