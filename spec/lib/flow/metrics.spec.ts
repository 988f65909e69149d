import { describe, expect, it } from '@jest/globals';
import { Delivery, resolvedEvent } from '../../../lib/events/index.ts';
import { type MetricDefinition, Metrics, type MetricsExporter } from '../../../lib/flow/index.ts';
import { delivery, rows } from '../../support/run-world.ts';

const SEEN: MetricDefinition<'stage'> = { name: 'seen_total', kind: 'counter', labels: ['stage'], help: 'Seen.' };
const SIZES: MetricDefinition<never> = { name: 'sizes', kind: 'histogram', labels: [], help: 'Sizes.', buckets: [1, 2] };

describe('Metrics', () => {
  it('give one counter a series, so that whoever asks again goes on with it', () => {
    const metrics = new Metrics();
    metrics.counter(SEEN, { stage: 'a' }).add(2);
    metrics.counter(SEEN, { stage: 'a' }).add(3);
    metrics.counter(SEEN, { stage: 'b' }).add(1);
    expect(metrics.counter(SEEN, { stage: 'a' }).value).toBe(5);
    expect(metrics.counter(SEEN, { stage: 'b' }).value).toBe(1);
  });

  it('do not take the values of two labels for one', () => {
    const metrics = new Metrics();
    metrics.add('a,b', 1, 'c');
    metrics.add('a', 2, 'b,c');
    expect([metrics.get('a,b', 'c'), metrics.get('a', 'b,c')]).toEqual([1, 2]);
  });

  it('read nothing and keep no histogram where nobody looks', () => {
    const metrics = new Metrics();
    metrics.watch(SEEN, { stage: 'a' }, () => {
      throw new Error('was read');
    });
    metrics.histogram(SIZES, {}).observe(1);
  });

  it('tell an exporter of each series once, and of each value of a histogram', () => {
    const told: string[] = [];
    const reads = new Map<string, () => number | null>();
    const exporter: MetricsExporter = {
      number: ({ name }, labels, read) => {
        told.push(`${name} ${JSON.stringify(labels)}`);
        reads.set(name, read);
      },
      histogram: ({ name }) => ({ observe: (value) => void told.push(`${name} ${value}`) }),
    };
    const metrics = new Metrics(exporter);
    const counter = metrics.counter(SEEN, { stage: 'a' });
    metrics.counter(SEEN, { stage: 'a' }).add(4);
    metrics.histogram(SIZES, {}).observe(2);
    expect(told).toEqual(['seen_total {"stage":"a"}', 'sizes 2']);
    counter.add(1);
    expect(reads.get('seen_total')!()).toBe(5);
  });
});

describe('the changes and rows of a delivery', () => {
  it.each<[string, Delivery, number, number]>([
    ['no event', new Delivery([]), 0, 0],
    ['a mark alone', delivery(resolvedEvent(5n)), 0, 0],
    ['blocks and a mark', delivery(rows('t', 5n, 3), rows('users', 5n, 2, 3), resolvedEvent(5n)), 2, 5],
  ])('of %s', (_, of, changes, count) => {
    expect([of.changes, of.rows, of.changes]).toEqual([changes, count, changes]);
  });

  it('are those of its own events, not of the delivery it was made from', () => {
    const before = delivery(rows('t', 5n, 3), rows('users', 5n, 2, 3));
    expect(before.rows).toBe(5);
    expect(before.with(before.events.slice(0, 1)).rows).toBe(3);
  });
});
