/** One line of what happened. */
export interface TraceLine {
  readonly ms: number;
  /** A node, a store, a link, …: whatever it happened to. */
  readonly who: string;
  readonly what: string;
  readonly isFault: boolean;
}

/**
 * What happened in a simulation: a hash over all of it, and the last lines themselves.
 *
 * Two runs did the same if their hashes are the same; the hash has the time of every step in it too, told or not.
 */
export class Trace {
  /** How many lines there were; the trace keeps the last `LINES_MAX` of them, and the first fault. */
  count = 0;
  firstFault: TraceLine | null = null;
  readonly #lines: TraceLine[] = [];
  #high = 0x9e3779b9;
  #low = 0x85ebca6b;

  add(line: TraceLine): void {
    this.mark(line.ms);
    this.#mixText(line.who);
    this.#mixText(line.what);
    this.#lines[this.count++ % LINES_MAX] = line;
    if (line.isFault) this.firstFault ??= line;
  }

  /** Goes into the hash only: two runs that differ in it did not do the same. */
  mark(number: number): void {
    this.#mix(Math.trunc(number));
    this.#mix((number % 1) * 0x1_0000_0000);
  }

  /** The last lines, at most `max`, oldest first. */
  lines(max = LINES_MAX): TraceLine[] {
    const kept = Math.min(max, this.count, LINES_MAX);
    return Array.from({ length: kept }, (_, i) => this.#lines[(this.count - kept + i) % LINES_MAX]!);
  }

  /** 16 hex digits over every line so far: when, who, what. */
  get hash(): string {
    return hex(finished(this.#high)) + hex(finished(this.#low));
  }

  #mixText(text: string): void {
    this.#mix(text.length);
    for (let i = 0; i < text.length; i++) this.#mix(text.charCodeAt(i));
  }

  #mix(word: number): void {
    this.#high = Math.imul(this.#high ^ word, 0x9e3779b1);
    this.#high ^= this.#high >>> 15;
    this.#low = Math.imul((this.#low << 5) ^ (this.#low >>> 27) ^ word, 0x5f356495);
  }
}

const LINES_MAX = 4096;

function finished(word: number): number {
  let mixed = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function hex(word: number): string {
  return word.toString(16).padStart(8, '0');
}
