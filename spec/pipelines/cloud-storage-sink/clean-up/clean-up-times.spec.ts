import { describe, expect, it } from '@jest/globals';
import { MemoryStore } from '../../../../lib/stores/index.ts';
import { nextTime } from '../../../../pipelines/cloud-storage-sink/clean-up/clean-up-times.ts';
import { cloudStorage } from '../../../../pipelines/index.ts';

/** spec storage-sink §7.2 */
describe('the options of clean-up', () => {
  const make = (options: object) => cloudStorage({ store: new MemoryStore(), protocol: 'canal-json', ...options });

  it.each<[what: string, options: object, details: object]>([
    [
      'days without days in paths',
      { fileExpirationDays: 3, dateSeparator: 'month' },
      { option: 'file-expiration-days', value: '3', bound: '0 unless date-separator is day (it is month)' },
    ],
    [
      'days with tables across nodes, of which one would write where another has removed',
      { fileExpirationDays: 3, enableTableAcrossNodes: true },
      { option: 'file-expiration-days', value: '3', bound: '0 with enable-table-across-nodes' },
    ],
    ['negative days', { fileExpirationDays: -1 }, { option: 'file-expiration-days', value: '-1', bound: '0 to 36500' }],
    ['half a day', { fileExpirationDays: 0.5 }, { option: 'file-expiration-days', value: '0.5' }],
    [
      'five fields, though clean-up is off',
      { fileCleanupCronSpec: '0 2 * * *' },
      { option: 'file-cleanup-cron-spec', value: '"0 2 * * *"' },
    ],
    ['seven fields', { fileCleanupCronSpec: '0 0 2 * * * 2030' }, { option: 'file-cleanup-cron-spec' }],
    ['what is no spec, though clean-up is off', { fileCleanupCronSpec: 'daily' }, { option: 'file-cleanup-cron-spec' }],
    ['hours that no day has', { fileCleanupCronSpec: '0 0 25 * * *' }, { option: 'file-cleanup-cron-spec' }],
    [
      'a time that never comes',
      { fileCleanupCronSpec: '0 0 0 30 2 *' },
      { option: 'file-cleanup-cron-spec', bound: expect.stringMatching(/never comes/) },
    ],
    ['nothing', { fileCleanupCronSpec: '' }, { option: 'file-cleanup-cron-spec' }],
  ])('are checked at once: %s', (_, options, details) => {
    const wanted: unknown = expect.objectContaining({ code: 'MR_INVALID_OPTION', details: expect.objectContaining(details) });
    expect(() => make(options)).toThrow(wanted as Error);
  });

  it('come from the URI too, and are shown', () => {
    const { options } = cloudStorage({ uri: 'file:///lake?protocol=csv&file-expiration-days=7&file-cleanup-cron-spec=0+30+4+*+*+MON' });
    expect(options).toMatchObject({ 'file-expiration-days': 7, 'file-cleanup-cron-spec': '0 30 4 * * MON' });
    expect(() => cloudStorage({ uri: 'file:///lake?protocol=csv&file-expiration-days=0&date-separator=none' })).not.toThrow();
  });

  it.each([
    ['0 0 2 * * *', '2026-03-29T01:59:59.999Z', '2026-03-29T02:00:00.000Z'],
    ['0 0 2 * * *', '2026-03-29T02:00:00.000Z', '2026-03-30T02:00:00.000Z'],
    ['0 30 2 * * SUN', '2026-10-25T00:30:00.000Z', '2026-10-25T02:30:00.000Z'],
  ])('name times in UTC, also on days on which clocks change: %s after %s', (spec, after, next) => {
    expect(new Date(nextTime(spec, Date.parse(after))!).toISOString()).toBe(next);
  });
});
