import { describe, expect, it } from '@jest/globals';
import { type MetricDefinition, Metrics } from '../../../lib/flow/index.ts';
import { PrometheusExporter } from '../../../lib/runtime/prometheus.ts';
import { parseScrape } from '../../support/scrape.ts';

const LEVEL: MetricDefinition<never> = { name: 'level', kind: 'gauge', labels: [], help: 'How full.' };
const BY_ID: MetricDefinition<'id'> = { name: 'by_id', kind: 'gauge', labels: ['id'], help: 'By id.' };
const SUM: MetricDefinition<'id'> = { name: 'sum_total', kind: 'counter', labels: ['id'], help: 'A sum.' };
const SIZES: MetricDefinition<never> = { name: 'sizes', kind: 'histogram', labels: [], help: 'Sizes.', buckets: [1, 2] };

function world() {
  const exporter = new PrometheusExporter('p');
  const scrape = async () => parseScrape(await exporter.text());
  return { exporter, metrics: new Metrics(exporter), scrape };
}

describe('PrometheusExporter', () => {
  it('reads the value of the moment, at each scrape', async () => {
    const { metrics, scrape } = world();
    let level = 3;
    metrics.watch(LEVEL, {}, () => level);
    const counter = metrics.counter(SUM, { id: 'a' });
    counter.add(2);
    expect([...(await scrape()).series]).toEqual([
      ['millrace_level{pipeline="p"}', 3],
      ['millrace_sum_total{id="a",pipeline="p"}', 2],
    ]);
    level = 1;
    counter.add(0.5);
    expect([...(await scrape()).series.values()]).toEqual([1, 2.5]);
  });

  it.each<[string, () => number | null]>([
    ['is unknown', () => null],
    ['is no number', () => Number.NaN],
    ['has no bound', () => Number.POSITIVE_INFINITY],
    [
      'cannot be read',
      () => {
        throw new Error('closed');
      },
    ],
  ])('leaves out a number that %s, and keeps the others', async (_, read) => {
    const { metrics, scrape } = world();
    metrics.watch(LEVEL, {}, read);
    metrics.watch(BY_ID, { id: 'a' }, read);
    metrics.watch(BY_ID, { id: 'b' }, () => 7);
    metrics.watch(SUM, { id: 'a' }, read);
    expect([...(await scrape()).series]).toEqual([['millrace_by_id{id="b",pipeline="p"}', 7]]);
  });

  it('reads a series that is told again with the new reader', async () => {
    const { metrics, scrape } = world();
    metrics.watch(LEVEL, {}, () => 1);
    metrics.watch(LEVEL, {}, () => 2);
    expect([...(await scrape()).series.values()]).toEqual([2]);
  });

  it('goes on with a histogram that is asked for again', async () => {
    const { metrics, scrape } = world();
    metrics.histogram(SIZES, {}).observe(1.5);
    metrics.histogram(SIZES, {}).observe(9);
    const { series } = await scrape();
    expect([...series]).toEqual([
      ['millrace_sizes_bucket{le="1",pipeline="p"}', 0],
      ['millrace_sizes_bucket{le="2",pipeline="p"}', 1],
      ['millrace_sizes_bucket{le="+Inf",pipeline="p"}', 2],
      ['millrace_sizes_sum{pipeline="p"}', 10.5],
      ['millrace_sizes_count{pipeline="p"}', 2],
    ]);
  });

  it('has nothing left when it was cleared', async () => {
    const { exporter, metrics } = world();
    metrics.counter(SUM, { id: 'a' }).add(1);
    metrics.histogram(SIZES, {}).observe(1);
    exporter.clear();
    expect((await exporter.text()).trim()).toBe('');
  });
});
