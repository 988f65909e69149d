import { MAX_ORDINAL } from '../../events/index.ts';
import type { PositionRun } from './positions.ts';

/**
 * Reads `["<commitTs>",first,last],…` from `from` to `to`: the longest part of a sidecar by far, for which the engine's parser would make a list and a text of each.
 * Null where it is not written just so, or holds what is no run, or a commitTs that a number does not hold exactly.
 */
export function parseRuns(text: string, from: number, to: number): PositionRun[] | null {
  const runs: PositionRun[] = [];
  const reader = new NumberReader(text);
  reader.at = from;
  while (reader.at < to) {
    if (runs.length > 0 && !reader.skip(COMMA)) return null;
    if (!reader.skip(OPEN) || !reader.skip(QUOTE)) return null;
    const commitTs = reader.number();
    if (!reader.skip(QUOTE) || !reader.skip(COMMA)) return null;
    const first = reader.number();
    if (!reader.skip(COMMA)) return null;
    const last = reader.number();
    if (!reader.skip(CLOSE) || commitTs < 0 || first < 0 || last < first || last > MAX_ORDINAL) return null;
    runs.push({ commitTs: BigInt(commitTs), first, last });
  }
  return reader.at === to ? runs : null;
}

class NumberReader {
  at = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  skip(code: number): boolean {
    return this.#text.charCodeAt(this.at++) === code;
  }

  /** −1 where there is none, none as JSON has it, or a greater one than is exact. */
  number(): number {
    const from = this.at;
    let number = 0;
    let code = this.#text.charCodeAt(this.at);
    for (; code >= 0x30 && code <= 0x39; code = this.#text.charCodeAt(++this.at)) number = number * 10 + code - 0x30;
    const length = this.at - from;
    return length === 0 || (length > 1 && this.#text.charCodeAt(from) === 0x30) || number > Number.MAX_SAFE_INTEGER ? -1 : number;
  }
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN = 0x5b;
const CLOSE = 0x5d;
