import { type ChangeEvent, dmlEvent, RowBlockWriter, resolvedEvent, truncateEvent } from '../../../lib/events/index.ts';
import type { MemorySource, SourceChange, SourceFixture } from '../../../lib/testing/index.ts';
import { suiteTable } from '../../../lib/testing/suite-tables.ts';

/** What the conformance suite commits, fed to a memory source. */
export function memorySourceFixture(source: MemorySource): SourceFixture {
  let commitTs = 0n;
  return {
    source,
    commit: async (changes) => {
      commitTs += 10n;
      for (const [ordinal, change] of changes.entries()) source.append([eventOf(change, commitTs, ordinal)]);
    },
    commitElsewhere: async () => {
      commitTs += 10n;
      source.append([resolvedEvent(commitTs)]);
    },
    close: async () => {},
  };
}

function eventOf(change: SourceChange, commitTs: bigint, ordinal: number): ChangeEvent {
  const position = { commitTs, ordinal };
  if (change.op === 'truncate') {
    return truncateEvent({ position, commitTimeUs: 0n, table: suiteTable(change.table, commitTs), query: 'TRUNCATE' });
  }
  const rows = new RowBlockWriter(suiteTable(change.table)).beginTransaction(commitTs, 0n, ordinal);
  if (change.op === 'insert') rows.insert({ id: change.id, note: change.note });
  else if (change.op === 'update') rows.update(null, { id: change.id, note: change.note });
  else rows.delete({ id: change.id });
  return dmlEvent(rows.build());
}
