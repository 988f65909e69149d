import type { ObjectDraft } from './object-store.ts';

/** An object to be, held in memory until it is put. */
export class HeldDraft implements ObjectDraft {
  readonly #put: (key: string, pieces: readonly Uint8Array[]) => Promise<boolean>;
  #pieces: Uint8Array[] = [];

  constructor(put: (key: string, pieces: readonly Uint8Array[]) => Promise<boolean>) {
    this.#put = put;
  }

  async write(pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces) this.#pieces.push(Buffer.from(piece));
  }

  putIfAbsent(key: string): Promise<boolean> {
    const pieces = this.#pieces;
    this.#pieces = [];
    return this.#put(key, pieces);
  }

  async discard(): Promise<void> {
    this.#pieces = [];
  }
}
