import { Ring } from '../flow/index.ts';

/** A queue whose members may leave from anywhere: `isIn` says who has left, `leave` that somebody has. It keeps no more than twice as many as are in it. */
export class Line<T> {
  readonly #ring = new Ring<T>();
  readonly #isIn: (item: T) => boolean;
  #size = 0;

  constructor(isIn: (item: T) => boolean) {
    this.#isIn = isIn;
  }

  get size(): number {
    return this.#size;
  }

  push(item: T): void {
    this.#ring.push(item);
    this.#size++;
  }

  /** The first; it stays. */
  first(): T | null {
    for (let item = this.#ring.peek(); item !== undefined; item = this.#ring.peek()) {
      if (this.#isIn(item)) return item;
      this.#ring.shift();
    }
    return null;
  }

  shift(): T | null {
    const item = this.first();
    if (item === null) return null;
    this.#ring.shift();
    this.#size--;
    return item;
  }

  /** One that was in it is not any more, as `isIn` says by now. */
  leave(): void {
    this.#size--;
    if (this.#ring.length <= 2 * this.#size + SLACK) return;
    for (let left = this.#ring.length; left > 0; left--) {
      const item = this.#ring.shift()!;
      if (this.#isIn(item)) this.#ring.push(item);
    }
  }

  clear(): void {
    this.#ring.clear();
    this.#size = 0;
  }
}

const SLACK = 64;
