import { identityOf, type RowIdentity } from '../handlers/event-line.ts';

/** One row of an event as it is stored. */
export interface StoredEvent extends RowIdentity {
  /** A line of JSON as `lineOf` makes it. */
  readonly line: string;
}

/** The rows of a file of JSON lines. Throws for what holds something else. */
export function parseEvents(content: Buffer): StoredEvent[] {
  const lines = content.toString().trimEnd().split('\n');
  return lines.map((line) => ({ ...identityOf(line), line }));
}

/** Which events are read. */
export interface EventFilter {
  /** Of this table alone. Default: all. */
  readonly table?: string;
  /** Of these types alone. Default: all. */
  readonly types?: readonly string[];
  /** From this time on, in nanoseconds since 1970 UTC. Default: all. */
  readonly sinceNs?: bigint;
}

/** The order of reading: time, then what tells events of one instant apart. */
export function compareEvents(a: RowIdentity, b: RowIdentity): number {
  if (a.timestampNs !== b.timestampNs) return a.timestampNs < b.timestampNs ? -1 : 1;
  if (a.seq !== b.seq) return a.seq < b.seq ? -1 : 1;
  if (a.id !== b.id) return a.id < b.id ? -1 : 1;
  return a.row - b.row;
}

/** Tells rows that were read already, as far as they are among the last ones (G7: an event delivered twice stands near its double). */
export class RecentRows {
  readonly #recent = new Set<string>();

  isNew({ id, row }: RowIdentity): boolean {
    const key = `${row}/${id}`;
    if (this.#recent.has(key)) return false;
    this.#recent.add(key);
    if (this.#recent.size > RECENT_MAX) this.#recent.delete(this.#recent.keys().next().value!);
    return true;
  }
}

const RECENT_MAX = 65_536;
