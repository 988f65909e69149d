/** Bytes that are looked for again and again at places where they are likely to stand: compared eight at a time. */
export class KnownBytes {
  readonly length: number;
  /** As floating-point numbers, which cost no allocation to read: what is none equals nothing, so at worst equal bytes are not found equal. */
  readonly #words: number[] = [];
  /** What is left behind the last word. */
  readonly #rest: number[] = [];

  /** @param bytes without a NUL: of numbers only the two zeros are equal where their bytes are not. */
  constructor(bytes: Buffer, from = 0, to = bytes.length) {
    this.length = to - from;
    let at = from;
    for (; at + 8 <= to; at += 8) this.#words.push(bytes.readDoubleLE(at));
    for (; at < to; at++) this.#rest.push(bytes[at]!);
  }

  /** The place behind them where they stand at `at` and end before `to`; else −1, as for a place that is negative. `view` is of `bytes`. */
  behind(bytes: Uint8Array, view: DataView, at: number, to: number): number {
    if (at < 0 || at + this.length > to) return -1;
    const words = this.#words;
    let place = at;
    for (let i = 0; i < words.length; i++, place += 8) if (view.getFloat64(place, true) !== words[i]) return -1;
    const rest = this.#rest;
    for (let i = 0; i < rest.length; i++, place++) if (bytes[place] !== rest[i]) return -1;
    return place;
  }
}
