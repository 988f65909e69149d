import { describe, expect, it } from '@jest/globals';
import { isoOfNs, isoOfNsInUs, msOfNs, nsOfIso } from '../../../pipelines/event-recorder/handlers/time-text.ts';
import { NOON_NS } from './events.ts';

describe('the texts of times', () => {
  it.each<[bigint, string, string]>([
    [NOON_NS, '2026-11-22T05:45:49.123456789Z', '2026-11-22T05:45:49.123456Z'],
    [0n, '1970-01-01T00:00:00.000000000Z', '1970-01-01T00:00:00.000000Z'],
    [-1n, '1969-12-31T23:59:59.999999999Z', '1969-12-31T23:59:59.999999Z'],
    [-1_000_000n, '1969-12-31T23:59:59.999000000Z', '1969-12-31T23:59:59.999000Z'],
    [-(2n ** 63n), '1677-09-21T00:12:43.145224192Z', '1677-09-21T00:12:43.145224Z'],
    [2n ** 63n - 1n, '2262-04-11T23:47:16.854775807Z', '2262-04-11T23:47:16.854775Z'],
  ])('%s is %s, to the nanosecond, on both sides of 1970', (ns, iso, micros) => {
    expect(isoOfNs(ns)).toBe(iso);
    expect(isoOfNsInUs(ns)).toBe(micros);
    expect(nsOfIso(iso)).toBe(ns);
  });

  it('a time before 1970 stands in the millisecond that began before it', () => {
    expect([-1n, -1_000_000n, -1_000_001n, 1n].map(msOfNs)).toEqual([-1n, -1n, -2n, 0n]);
  });

  it.each(['', '2026-11-22T05:45:49Z', '2026-13-22T05:45:49.123456789Z', 'x2026-11-22T05:45:49.123456789Z'])(
    '%j is no time of a line',
    (text) => {
      expect(nsOfIso(text)).toBeNull();
    },
  );
});
