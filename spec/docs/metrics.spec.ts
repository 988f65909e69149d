import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { METRIC_GROUPS, metricsDocument } from '../../docs/make-metrics.ts';

describe('docs/metrics.md', () => {
  it('is what docs/make-metrics.ts makes of the definitions, so that it never lags (run `npx tsx docs/make-metrics.ts`)', () => {
    expect(readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8')).toBe(metricsDocument());
  });

  const all = Object.values(METRIC_GROUPS).flat();

  it('names each metric once', () => {
    const names = all.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  it.each(all.map((definition) => [definition.name, definition] as const))('%s is named as Prometheus wants it', (name, definition) => {
    const { kind, labels, help, buckets } = definition;
    expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
    expect(help).toMatch(/^\S.*\.$/);
    expect(labels.every((label) => /^[a-z]+(_[a-z]+)?$/.test(label) && label !== 'pipeline' && label !== 'le')).toBe(true);
    // The spec names this one, a counter of seconds.
    if (kind === 'counter' && name !== 'cloud_storage_worker_busy_ratio') expect(name).toMatch(/_total$/);
    if (kind === 'gauge') expect(name).not.toMatch(/_total$/);
    expect(buckets !== undefined).toBe(kind === 'histogram');
    expect(buckets ?? []).toEqual([...(buckets ?? [])].sort((a, b) => a - b));
  });
});
