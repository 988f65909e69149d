import { type ChangeEvent, dmlEvent, RowBlockWriter, type Table } from '../../lib/events/index.ts';
import type { CloudStorageOptions } from '../../pipelines/index.ts';
import { type Transaction, table } from './sink-world.ts';

export const users = (version = 7n): Table => table('users', version, ['id', 'name'], ['id']);
const notes = table('notes', 7n, ['id', 'name'], ['id']);

/** Rows of users at each commitTs: `<commitTs>.<n>`. Three of them are a file. */
const SIZES: readonly (readonly [commitTs: bigint, rows: number])[] = [
  [10n, 2],
  [20n, 5],
  [30n, 1],
  [40n, 4],
];

/** A file is written when 1 KiB is gathered. */
export const SMALL_FILES: Partial<CloudStorageOptions> = { dateSeparator: 'none', fileSize: 1024 };

/**
 * Transactions of two tables. Blocks hold at most `rowsPerBlock` rows: a replay is cut elsewhere, because a source cuts where its deliveries end.
 */
export function historyOf(rowsPerBlock: number): Transaction[] {
  return SIZES.map(([commitTs, count]) => ({
    commitTs,
    events: () => {
      const events: ChangeEvent[] = [];
      for (let from = 0; from < count; from += rowsPerBlock) {
        const writer = new RowBlockWriter(users()).beginTransaction(commitTs, 0n, from);
        for (let row = from; row < Math.min(from + rowsPerBlock, count); row++) writer.insert({ id: `${commitTs}.${row}`, name: FILL });
        events.push(dmlEvent(writer.build()));
      }
      const note = new RowBlockWriter(notes).beginTransaction(commitTs, 0n, count).insert({ id: `note ${commitTs}`, name: FILL });
      events.push(dmlEvent(note.build()));
      return events;
    },
  }));
}

/** As `publishedRows` gives them. */
export const EVERY_ROW: readonly string[] = SIZES.flatMap(([commitTs, count]) => [
  ...Array.from({ length: count }, (_, row) => `${commitTs}/${row} ${commitTs}.${row}`),
  `${commitTs}/${count} note ${commitTs}`,
]);

const FILL = 'x'.repeat(400);
