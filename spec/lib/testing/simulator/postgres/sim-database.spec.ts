import { describe, expect, it } from '@jest/globals';
import { seededRandom } from '../../../../../lib/testing/index.ts';
import { expectedOf, SimDatabase, type SimRow, Workload } from '../../../../../lib/testing/simulator/postgres/index.ts';

function grown(seed: number, commits = 400) {
  const random = seededRandom(seed);
  const database = new SimDatabase({ random, now: () => 0 });
  const { consistentPoint } = database.snapshot();
  const workload = new Workload(database, { random });
  for (let i = 0; i < commits; i++) workload.next();
  return { database, consistentPoint };
}

describe('SimDatabase', () => {
  it('commits in ascending order, and now and then at the very end of the transaction before (P1)', () => {
    const { history } = grown(1).database;
    const gaps = history.slice(1).map(({ commitTs }, index) => commitTs - history[index]!.endLsn);
    expect(gaps.every((gap) => gap >= 0n)).toBe(true);
    expect(gaps.filter((gap) => gap === 0n).length).toBeGreaterThan(20);
  });

  it('makes every kind of transaction that a stream must stand', () => {
    const { database } = grown(2);
    const { history } = database;
    const truncates = history.map(({ changes }) => changes.filter(({ kind }) => kind === 'truncate').length);
    const sameKey = history.filter(({ changes }) => {
      const keys = changes.flatMap((change) =>
        change.kind === 'row' ? [`${change.shape.oid} ${(change.data ?? change.old)?.['id']}`] : [],
      );
      return new Set(keys).size < keys.length;
    });
    const shapes = history.filter(({ changes }) => {
      const known = new Map<number, unknown>();
      return changes.some((change) => {
        if (change.kind !== 'row') return false;
        const before = known.get(change.shape.oid) ?? change.shape;
        known.set(change.shape.oid, change.shape);
        return before !== change.shape;
      });
    });
    const moves = history
      .flatMap(({ changes }) => changes)
      .filter((change) => change.kind === 'row' && change.op === 'U' && change.old !== null);
    const counts = {
      truncated: truncates.some((count) => count === 1),
      truncatedTwice: truncates.some((count) => count >= 2),
      truncatedTogether: history.some(({ changes }) => changes.some((change) => change.kind === 'truncate' && change.shapes.length > 1)),
      empty: history.some(({ changes }) => changes.length === 0),
      large: history.some(({ changes }) => changes.length >= 40),
      sameKey: sameKey.length > 20,
      addColumnBetweenRows: shapes.length > 1,
      keyUpdates: moves.length > 20,
    };
    expect(Object.entries(counts).filter(([, isThere]) => !isThere)).toEqual([]);
  });

  it('knows as its oracle changes that lead from the snapshot to the rows that are left', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { database, consistentPoint } = grown(seed, 150);
      for (const table of database.tables.values()) {
        if (!table.isPublished) continue;
        const { changes, rows } = expectedOf(database, table.oid, consistentPoint);
        const key = (row: SimRow) => table.key.map((name) => row[name]).join('\0');
        const rebuilt = new Map<string, SimRow>();
        for (const { op, old, data } of changes) {
          if (op === 'T') rebuilt.clear();
          if (op === 'D' || (op === 'U' && old !== null)) rebuilt.delete(key(old!));
          if (data !== null) rebuilt.set(key(data), data);
        }
        // Rows older than a column have its default: readers fill it in.
        const keysOf = (list: readonly SimRow[]) => list.map(key).sort();
        expect(keysOf([...rebuilt.values()])).toEqual(keysOf(rows));
        for (const row of rows) expect(row).toMatchObject(rebuilt.get(key(row))!);
      }
    }
  });

  it('numbers the relations of a TRUNCATE one by one, and gives a table truncated twice two versions', () => {
    const database = new SimDatabase({ random: seededRandom(1), now: () => 0 });
    const [users, orders] = [database.table('public.users'), database.table('public.orders')];
    const { consistentPoint: s } = database.snapshot();
    const { commitTs } = database.transact((writer) => {
      writer.truncate(users, orders);
      writer.truncate(users);
      writer.insert(users, { id: '1' });
    });
    const seen = (oid: number) => expectedOf(database, oid, s).changes.map(({ op, ordinal, version }) => [op, ordinal, version - commitTs]);
    expect(seen(users.oid)).toEqual([
      ['T', 0, 0n],
      ['T', 2, 1n],
      ['I', 3, 1n],
    ]);
    expect(seen(orders.oid)).toEqual([['T', 1, 0n]]);
  });

  it('says when it is asked for a table that is not there', () => {
    const { database } = grown(1, 0);
    expect(() => database.table('public.nowhere')).toThrow('MR_INVALID_OPTION');
    expect(() => expectedOf(database, 1, 1n)).toThrow('MR_INVALID_OPTION');
  });
});
