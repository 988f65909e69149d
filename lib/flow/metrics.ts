/** What is counted under one name. `docs/metrics.md` is made from the definitions. */
export interface MetricDefinition<Label extends string = string> {
  /** Letters, digits and `_`; served as `millrace_` and this. */
  readonly name: string;
  readonly kind: 'counter' | 'gauge' | 'histogram';
  /** One sentence: what it counts, and in which unit. */
  readonly help: string;
  /** What tells its series apart, beside the pipeline. */
  readonly labels: readonly Label[];
  /** Upper bounds of a histogram, ascending. */
  readonly buckets?: readonly number[];
}

/** The series of a metric: a value for each of its labels. */
export type MetricLabels<Label extends string = string> = Readonly<Record<Label, string>>;

/** A sum that only grows. */
export class Counter {
  #value = 0;

  get value(): number {
    return this.#value;
  }

  /** `by` is at least 0. */
  add(by: number): void {
    this.#value += by;
  }
}

/** How values are spread. */
export interface Histogram {
  observe(value: number): void;
}

/** Who shows the numbers to somebody outside. */
export interface MetricsExporter {
  /** A counter or gauge whose value `read` gives whenever somebody looks; null: none at the moment. A series that is there is read so from now on. */
  number(definition: MetricDefinition, labels: MetricLabels, read: () => number | null): void;
  histogram(definition: MetricDefinition, labels: MetricLabels): Histogram;
}

/**
 * The numbers of one run. Whoever counts takes its counters once, when it is made, and adds to them: that costs an addition. Without an exporter histograms
 * keep nothing and nothing is read.
 */
export class Metrics {
  readonly #exporter: MetricsExporter | null;
  readonly #counters = new Map<string, Counter>();

  constructor(exporter: MetricsExporter | null = null) {
    this.#exporter = exporter;
  }

  /** The counter of a series: the same one whenever it is asked for. */
  counter<Label extends string>(definition: MetricDefinition<Label>, labels: MetricLabels<Label>): Counter {
    let key = definition.name;
    for (const label of definition.labels) key += `\0${labels[label]}`;
    let counter = this.#counters.get(key);
    if (counter === undefined) {
      const made = new Counter();
      counter = made;
      this.#counters.set(key, made);
      this.#exporter?.number(definition, labels, () => made.value);
    }
    return counter;
  }

  /** A number that somebody keeps already: it is read when somebody looks; null: there is none at the moment. */
  watch<Label extends string>(definition: MetricDefinition<Label>, labels: MetricLabels<Label>, read: () => number | null): void {
    this.#exporter?.number(definition, labels, read);
  }

  histogram<Label extends string>(definition: MetricDefinition<Label>, labels: MetricLabels<Label>): Histogram {
    return this.#exporter?.histogram(definition, labels) ?? UNOBSERVED;
  }

  /** Counts something of a stage's own, as in a step of `perEvent`: a series of `custom_total`. It looks the counter up each time. */
  add(name: string, by: number, stage = ''): void {
    this.counter(CUSTOM_TOTAL, { name, stage }).add(by);
  }

  /** What `add` has counted. */
  get(name: string, stage = ''): number {
    return this.counter(CUSTOM_TOTAL, { name, stage }).value;
  }
}

export const CUSTOM_TOTAL: MetricDefinition<'name' | 'stage'> = {
  name: 'custom_total',
  kind: 'counter',
  labels: ['name', 'stage'],
  help: 'What stages of your own count with context.metrics.add(name, by, stage).',
};

/** The bounds of a histogram: `start`, then each `factor` times the one before. */
export function exponentialBuckets(start: number, factor: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => start * factor ** index);
}

const UNOBSERVED: Histogram = { observe: () => {} };
