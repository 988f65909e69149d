import type { ObjectBody, ObjectVersion } from '../../lib/stores/index.ts';
import { MemoryStore } from '../../lib/stores/index.ts';

/** A store in memory whose writes of chosen keys wait until they are let go. */
export class GateStore extends MemoryStore {
  /** Keys in the order in which they were written, data files and all. */
  readonly written: string[] = [];
  #held: RegExp | null = null;
  #waiting: (() => void)[] = [];

  get waiting(): number {
    return this.#waiting.length;
  }

  hold(keys: RegExp): void {
    this.#held = keys;
  }

  /** Lets go what waits, and holds nothing from now on. */
  release(): void {
    for (const go of this.takeWaiting()) go();
  }

  /** Holds nothing from now on; what waits goes on one by one, when it is told to. */
  takeWaiting(): (() => void)[] {
    this.#held = null;
    return this.#waiting.splice(0);
  }

  override async put(key: string, body: ObjectBody): Promise<void> {
    await this.#pass(key);
    this.written.push(key);
    await super.put(key, body);
  }

  override async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    await this.#pass(key);
    this.written.push(key);
    return super.putIfAbsent(key, body);
  }

  override async putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    await this.#pass(key);
    this.written.push(key);
    return super.putIf(key, body, expected);
  }

  #pass(key: string): Promise<void> {
    if (this.#held?.test(key) !== true) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
