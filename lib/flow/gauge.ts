/** Bytes accepted by a sink and not yet durable. Whoever accepts adds, whoever makes durable releases, whoever waits for room listens. */
export class Gauge {
  #level = 0;
  readonly #listeners = new Set<() => void>();

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
}
