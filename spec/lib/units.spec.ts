import { describe, expect, it } from '@jest/globals';
import { formatBytes, formatDuration, parseBytes, parseDurationMs } from '../../lib/units.ts';

describe('parseBytes', () => {
  it.each<[string | number, number]>([
    ['1000', 1000],
    [1000, 1000],
    ['0', 0],
    ['12B', 12],
    ['64MiB', 64 * 1024 ** 2],
    ['10GiB', 10 * 1024 ** 3],
    ['2TiB', 2 * 1024 ** 4],
    ['1kB', 1000],
    ['1KB', 1000],
    ['1.5KiB', 1536],
    [' 5 GB ', 5e9],
    ['1mib', 1024 ** 2],
  ])('takes %j as %i', (text, bytes) => {
    expect(parseBytes(text, 'file-size')).toBe(bytes);
  });

  it.each<[string | number]>([
    [''],
    ['MiB'],
    ['-1'],
    ['1e3'],
    ['64 Mi'],
    ['64Mb/s'],
    ['0x10'],
    [-5],
    [Number.NaN],
    [Number.POSITIVE_INFINITY],
    ['9999999TiB'],
  ])('refuses %j, naming option, value and bound', (text) => {
    expect(() => parseBytes(text, 'file-size')).toThrow(/MR_INVALID_OPTION: option file-size is .*a size such as/);
  });

  it('refuses what is outside the bounds and says them as people type them', () => {
    expect(() => parseBytes('1KiB', 'file-size', { min: 1024 ** 2, max: 2 * 1024 ** 2 })).toThrow('at least 1MiB, at most 2MiB');
    expect(parseBytes('1MiB', 'file-size', { min: 1024 ** 2, max: 1024 ** 2 })).toBe(1024 ** 2);
  });
});

describe('parseDurationMs', () => {
  it.each<[string | number, number]>([
    ['100ms', 100],
    ['5s', 5000],
    ['10m', 600_000],
    ['1h', 3_600_000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['90d', 90 * 86_400_000],
    ['1d12h', 129_600_000],
    ['0s', 0],
    [' 2s ', 2000],
    [250, 250],
  ])('takes %j as %i ms', (text, ms) => {
    expect(parseDurationMs(text, 'wait')).toBe(ms);
  });

  it.each<[string | number]>([['5'], [''], ['s'], ['-5s'], ['5 seconds'], ['5w'], ['s5'], ['1m30'], [-1], [Number.NaN]])(
    'refuses %j, because a duration needs its unit',
    (text) => {
      expect(() => parseDurationMs(text, 'wait')).toThrow(/MR_INVALID_OPTION: option wait is .*a duration such as/);
    },
  );

  it('refuses what is outside the bounds and says them as people type them', () => {
    expect(() => parseDurationMs('1h', 'wait', { max: 600_000 })).toThrow('at most 10m');
  });
});

describe('formatBytes and formatDuration', () => {
  it.each<[number, string]>([
    [0, '0B'],
    [1023, '1023B'],
    [1536, '1.5KiB'],
    [64 * 1024 ** 2, '64MiB'],
    [5 * 1024 ** 5, '5120TiB'],
  ])('writes %i bytes as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it.each<[number, string]>([
    [0, '0ms'],
    [999, '999ms'],
    [1500, '1.5s'],
    [60_000, '1m'],
    [90_000, '1m30s'],
    [3_600_000, '1h'],
    [3_725_000, '1h2m5s'],
  ])('writes %i ms as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});
