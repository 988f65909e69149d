import { describe, expect, it } from '@jest/globals';
import { hintsByType, hintTexts, hintTimes, windowStartMs } from '../../../pipelines/event-recorder/hints.ts';

const DAY_MS = 86_400_000;

/** spec event-recorder §C3 */
describe('hintsByType', () => {
  it('C5.31: the defaults are 90 days, append mode and windows of a day', () => {
    expect(hintsByType()('any')).toEqual({ ttl: '90d', appendMode: true, timeWindow: '1d' });
    expect(hintTexts(hintsByType()('any'))).toEqual({ ttl: '90d', append_mode: 'true', 'compaction.twcs.time_window': '1d' });
  });

  it('C5.31: a type may have hints of its own; what it leaves out is as for all', () => {
    const hints = hintsByType({ ttl: '30d', types: { slow_query: { ttl: '7d' }, audit: { ttl: null, timeWindow: '30d' } } });
    expect(hints('slow_query')).toEqual({ ttl: '7d', appendMode: true, timeWindow: '1d' });
    expect(hints('audit')).toEqual({ ttl: null, appendMode: true, timeWindow: '30d' });
    expect(hints('other')).toEqual({ ttl: '30d', appendMode: true, timeWindow: '1d' });
    expect(hints('other')).toBe(hints('another'));
    expect(hintTexts(hints('audit'))).toEqual({ append_mode: 'true', 'compaction.twcs.time_window': '30d' });
  });

  it('C5.30: hints that are given in part keep the defaults of the rest', () => {
    expect(hintsByType({ appendMode: false })('any')).toEqual({ ttl: '90d', appendMode: false, timeWindow: '1d' });
  });

  it.each([
    [{ ttl: '90' }, /option ttl is "90"/],
    [{ ttl: '10ms' }, /option ttl is "10ms"/],
    [{ timeWindow: '1s' }, /option timeWindow is "1s"/],
    [{ types: { a: { ttl: 'soon' } } }, /option types\.a\.ttl is "soon"/],
    [{ appendMode: 'yes' as unknown as boolean }, /option appendMode is yes/],
  ])('refuses %j at once, naming the option', (options, message) => {
    expect(() => hintsByType(options)).toThrow(message);
  });
});

describe('hintTimes', () => {
  it('gives the times that a handler cleans up by', () => {
    expect(hintTimes(hintsByType()('any'))).toEqual({ ttlMs: 90 * DAY_MS, windowMs: DAY_MS });
    expect(hintTimes(hintsByType({ ttl: null })('any'))).toEqual({ ttlMs: null, windowMs: DAY_MS });
  });

  it('windows begin at multiples of their width, before 1970 too', () => {
    expect(windowStartMs(DAY_MS + 1, DAY_MS)).toBe(DAY_MS);
    expect(windowStartMs(DAY_MS, DAY_MS)).toBe(DAY_MS);
    expect(windowStartMs(-1, DAY_MS)).toBe(-DAY_MS);
  });
});
