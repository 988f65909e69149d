import type { AckedEvent } from '../../../lib/events/index.ts';
import type { Clock, Source, Stage } from '../../../lib/index.ts';
import type { ExpectedTable } from './expected.ts';

/** A value by column name, as text; a column that the change did not bring is left out. */
export type OriginRow = Readonly<Record<string, string | null>>;

/** A change as a reader must see it. */
export interface OriginChange {
  readonly commitTs: bigint;
  readonly ordinal: number;
  readonly op: 'I' | 'U' | 'D' | 'T';
  readonly old: OriginRow | null;
  readonly data: OriginRow | null;
}

/** Where changes come from: a simulated database with the source over it, and what must come of it. */
export interface Origin {
  readonly source: Source;
  /** The tables that are captured. */
  readonly tables: readonly ExpectedTable[];
  /** Whether a place can come again in one run: the source does not number what shares a commitTs, so a reset repeats it. */
  readonly mayRepeat: boolean;
  /** What the source needs between itself and the pipeline's own stages. */
  stages(): Stage[];
  /** Commits what the scenario is to commit. */
  live(): Promise<void>;
  /** Commits what no file comes of. Returns the last commitTs. */
  filtered(): bigint;
  /** Nothing goes wrong any more. */
  calm(): void;
  /** The node with this clock is gone. */
  abandon(clock: Clock): void;
  /** What may befall the database, by a word for it. */
  readonly troubles: readonly (readonly [what: string, happens: () => void])[];
  /** What has not been read yet can be read no more. */
  lose(): void;
  /** Takes in what was committed, and what was begun, since it was called last. `onAgain` hears of a table that is copied again. */
  update(onAgain: (table: ExpectedTable, from: bigint) => void): void;
  /** Up to where the database believes that the source has everything; null when it does not ask. */
  serverTs(): bigint | null;
  /** Up to where it may believe so before anything was confirmed. */
  beginningTs(): bigint;
  /** Whether the event is of an epoch that is over. */
  isStale(event: AckedEvent): boolean;
  /** How often the database gave up a client that was there, and to which it could speak, because it heard nothing of it. */
  silencesOf(clock: Clock): number;
  /** What it was told that can never have been; null for nothing. */
  violation(): string | null;
  /** Worked out afresh: every change of the table. */
  changesOf(table: ExpectedTable): readonly OriginChange[];
  /** The rows of the table at the end; null when not all of them can have come. */
  rowsOf(table: ExpectedTable): readonly OriginRow[] | null;
}
