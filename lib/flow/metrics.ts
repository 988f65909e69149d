/** Counters of one run, by name and stage: `rows_in`, `rows_out`, `bytes_out`, `events_discarded`, `errors`. */
export class Metrics {
  readonly #counters = new Map<string, number>();

  add(name: string, by: number, stage = ''): void {
    const key = stage === '' ? name : `${name}{${stage}}`;
    this.#counters.set(key, (this.#counters.get(key) ?? 0) + by);
  }

  get(name: string, stage = ''): number {
    return this.#counters.get(stage === '' ? name : `${name}{${stage}}`) ?? 0;
  }
}
