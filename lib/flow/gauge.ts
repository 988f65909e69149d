/**
 * Bytes accepted by a sink and not yet durable. Whoever accepts adds, whoever makes durable releases, whoever waits for room listens. Whoever finds too
 * much presses, so that all who gather let go of what they hold.
 */
export class Gauge {
  #level = 0;
  readonly #listeners = new Set<() => void>();
  readonly #gatherers = new Set<() => void>();

  get level(): number {
    return this.#level;
  }

  add(bytes: number): void {
    this.#level += bytes;
  }

  /** Takes bytes off (never below 0) and tells the listeners. */
  release(bytes: number): void {
    this.#level = Math.max(0, this.#level - bytes);
    for (const listener of [...this.#listeners]) listener();
  }

  /** Calls `listener` after each release until the returned function is called. */
  onRelease(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Tells everyone who gathers to let go. */
  press(): void {
    for (const gatherer of [...this.#gatherers]) gatherer();
  }

  /** Calls `gatherer` at each `press` until the returned function is called. */
  onPressure(gatherer: () => void): () => void {
    this.#gatherers.add(gatherer);
    return () => this.#gatherers.delete(gatherer);
  }
}
