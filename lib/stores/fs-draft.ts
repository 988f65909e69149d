import type { DurableFile } from './durable-file.ts';
import type { ObjectDraft } from './object-store.ts';

/** An object to be, in a temporary file, which is made when the first of it comes. */
export class FsDraft implements ObjectDraft {
  readonly #create: () => Promise<DurableFile>;
  readonly #link: (key: string, finish: () => Promise<string>) => Promise<boolean>;
  #file: DurableFile | null = null;
  /** Put, or discarded. */
  #isOver = false;
  /** The first; nothing is written behind it. */
  #failure: { readonly error: unknown } | null = null;

  /** @param link puts what is at the path that `finish` gives, and removes it there. */
  constructor(create: () => Promise<DurableFile>, link: (key: string, finish: () => Promise<string>) => Promise<boolean>) {
    this.#create = create;
    this.#link = link;
  }

  async write(pieces: readonly Uint8Array[]): Promise<void> {
    if (this.#failure !== null || this.#isOver) return;
    try {
      this.#file ??= await this.#create();
      await this.#file.write(pieces);
    } catch (error) {
      this.#failure = { error };
      // It takes room until then that somebody else may need.
      await this.#abandon();
    }
  }

  async putIfAbsent(key: string): Promise<boolean> {
    try {
      return await this.#link(key, () => this.#finish());
    } finally {
      await this.discard();
    }
  }

  async discard(): Promise<void> {
    this.#isOver = true;
    await this.#abandon();
  }

  async #finish(): Promise<string> {
    if (this.#failure !== null) throw this.#failure.error;
    if (this.#isOver) throw new Error('what was begun of it was given up');
    const file = (this.#file ??= await this.#create());
    await file.finish();
    this.#file = null;
    return file.path;
  }

  async #abandon(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await file?.abandon();
  }
}
