import type { ObjectDraft } from './object-store.ts';

/** An object to be, held in memory until it is put. */
export class HeldDraft implements ObjectDraft {
  readonly #put: (key: string, pieces: readonly Uint8Array[]) => Promise<boolean>;
  /** Null when it was put or discarded. */
  #pieces: Uint8Array[] | null = [];

  constructor(put: (key: string, pieces: readonly Uint8Array[]) => Promise<boolean>) {
    this.#put = put;
  }

  async write(pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces) this.#pieces?.push(Buffer.from(piece));
  }

  async putIfAbsent(key: string): Promise<boolean> {
    const pieces = this.#pieces;
    this.#pieces = null;
    if (pieces === null) throw new Error(`${key} was put already, or what was begun of it was given up`);
    return this.#put(key, pieces);
  }

  async discard(): Promise<void> {
    this.#pieces = null;
  }
}
