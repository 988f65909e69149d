import type { ExpectedTable } from './expected.ts';
import type { Rule } from './rules.ts';

export interface Breach {
  readonly rule: Rule;
  readonly reason: string;
}

/** What has arrived at the sink in one run: of each table everything from the checkpoint on, in order, and nothing behind a mark that said it had all come. */
export class Arrivals {
  readonly #tables: readonly ExpectedTable[];
  readonly #startTs: bigint;
  readonly #mayRepeat: boolean;
  /** By table: the first change of this run, and the next that is due. */
  readonly #next = new Map<ExpectedTable, { readonly from: bigint; first: number; index: number }>();
  #resolvedTs: bigint;

  /**
   * @param startTs the checkpoint that the run began with.
   * @param mayRepeat whether what shares the last commitTs may come again.
   */
  constructor(tables: readonly ExpectedTable[], startTs: bigint, mayRepeat: boolean) {
    this.#tables = tables;
    this.#startTs = startTs;
    this.#mayRepeat = mayRepeat;
    this.#resolvedTs = startTs;
  }

  changed(table: ExpectedTable, commitTs: bigint, ordinal: number): Breach | null {
    const at = () => `${commitTs}/${ordinal} of ${table.fullName}`;
    const index = table.indexOf(commitTs, ordinal);
    const next = this.#nextOf(table);
    if (index < 0 || next === null) return { rule: 'order', reason: `${at()} arrives, and nothing was committed there` };
    const isRepeated = this.#mayRepeat && index < next.index && commitTs === table.changes[next.index - 1]!.commitTs;
    if (isRepeated || commitTs <= this.#startTs) return null;
    if (commitTs <= this.#resolvedTs) {
      return { rule: 'durable', reason: `${at()} arrives behind the mark that resolved ${this.#resolvedTs}` };
    }
    if (index < next.index) return { rule: 'order', reason: `${at()} arrives a second time, or out of order` };
    if (index > next.index) {
      const left = table.changes[next.index]!;
      return { rule: 'order', reason: `${at()} arrives, and ${left.commitTs}/${left.ordinal} before it has not` };
    }
    next.index++;
    return null;
  }

  /** Everything up to `commitTs` is said to have arrived. */
  resolved(commitTs: bigint): Breach | null {
    if (commitTs > this.#resolvedTs) this.#resolvedTs = commitTs;
    for (const table of this.#tables) {
      const due = table.changes[this.#nextOf(table)?.index ?? 0];
      if (due === undefined || due.commitTs > commitTs) continue;
      const isSnapshot = table.isSnapshotRow(table.indexOf(due.commitTs, due.ordinal));
      const rule = isSnapshot ? 'snapshot' : this.#hasArrivedOf(due.commitTs) ? 'boundary' : 'durable';
      return { rule, reason: `${commitTs} is resolved, and ${due.commitTs}/${due.ordinal} of ${table.fullName} has not arrived` };
    }
    return null;
  }

  /** Whether a part of this transaction has arrived. */
  #hasArrivedOf(commitTs: bigint): boolean {
    return this.#tables.some((table) => {
      const next = this.#nextOf(table);
      return next !== null && next.index > next.first && table.changes[next.index - 1]!.commitTs === commitTs;
    });
  }

  #nextOf(table: ExpectedTable) {
    if (table.from === null) return null;
    let next = this.#next.get(table);
    // A snapshot that was begun anew begins everything anew.
    if (next === undefined || next.from !== table.from) {
      const first = table.indexBehind(this.#startTs);
      next = { from: table.from, first, index: first };
      this.#next.set(table, next);
    }
    return next;
  }
}
