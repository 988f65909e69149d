import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Histogram as FlowHistogram, MetricDefinition, MetricLabels, MetricsExporter } from '../flow/index.ts';
import { scrubText } from './logger.ts';

/** What stands before every metric's name. */
export const METRIC_PREFIX = 'millrace_';

/**
 * The metrics of one run in a registry of their own, labelled with its pipeline: runs of one process do not meet. Numbers are read when a scrape comes.
 *
 * Credentials in label values are replaced: the name of a stage may be any text.
 */
export class PrometheusExporter implements MetricsExporter {
  readonly #registry = new Registry();
  readonly #families = new Map<string, Map<string, Series>>();
  /** Histograms' series, which begin with zeros. */
  readonly #begun = new Set<string>();

  constructor(pipeline: string) {
    this.#registry.setDefaultLabels({ pipeline });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Prometheus's text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  number(definition: MetricDefinition, labels: MetricLabels, read: () => number | null): void {
    let family = this.#families.get(definition.name);
    if (family === undefined) {
      family = new Map();
      this.#families.set(definition.name, family);
      this.#register(definition, family);
    }
    const shown = shownLabels(definition, labels);
    family.set(JSON.stringify(shown), { labels: shown, read });
  }

  histogram(definition: MetricDefinition, labels: MetricLabels): FlowHistogram {
    const { name } = definition;
    const known = this.#registry.getSingleMetric(METRIC_PREFIX + name);
    const histogram =
      known instanceof Histogram ? known : new Histogram({ ...this.#config(definition), buckets: [...definition.buckets!] });
    const shown = shownLabels(definition, labels);
    const series = name + JSON.stringify(shown);
    if (!this.#begun.has(series)) histogram.zero(shown);
    this.#begun.add(series);
    return { observe: (value) => histogram.observe(shown, value) };
  }

  /** Forgets everything. */
  clear(): void {
    this.#registry.clear();
    this.#families.clear();
  }

  #register(definition: MetricDefinition, family: ReadonlyMap<string, Series>): void {
    const config = this.#config(definition);
    if (definition.kind === 'counter') {
      new Counter({
        ...config,
        collect() {
          this.reset();
          for (const [labels, value] of current(family)) if (value >= 0) this.inc(labels, value);
        },
      });
    } else {
      new Gauge({
        ...config,
        collect() {
          this.reset();
          // A metric without labels is 0 after a reset; without a value it has no series.
          if (config.labelNames.length === 0) this.remove();
          for (const [labels, value] of current(family)) this.set(labels, value);
        },
      });
    }
  }

  #config({ name, help, labels }: MetricDefinition) {
    return { name: METRIC_PREFIX + name, help, labelNames: [...labels], registers: [this.#registry] };
  }
}

interface Series {
  readonly labels: Record<string, string>;
  readonly read: () => number | null;
}

/** What there is to say now: one number that cannot be read keeps none of the others back. */
function* current(family: ReadonlyMap<string, Series>): Generator<[Record<string, string>, number]> {
  for (const { labels, read } of family.values()) {
    let value: number | null = null;
    try {
      value = read();
    } catch {
      // Left out, as what has no value: whoever keeps the number is closing.
    }
    if (value !== null && Number.isFinite(value)) yield [labels, value];
  }
}

function shownLabels(definition: MetricDefinition, labels: MetricLabels): Record<string, string> {
  return Object.fromEntries(definition.labels.map((label) => [label, scrubText(labels[label] ?? '')]));
}
