import { describe, expect, it } from '@jest/globals';
import {
  type DdlStatement,
  pruneStatements,
  restoreStatements,
  tellStatements,
  withStatement,
} from '../../../../lib/sources/postgres/ddl-statements.ts';

/** Added at `commitTs/ordinal`, with the text `lsn`. */
function waiting(...places: [commitTs: bigint, ordinal: number, lsn: bigint, query?: string][]): readonly DdlStatement[] {
  return places.reduce<readonly DdlStatement[]>(
    (list, [commitTs, ordinal, lsn, query = `s${lsn}`]) => withStatement(list, { commitTs, ordinal, lsn, query }),
    [],
  );
}

const told = (list: readonly DdlStatement[], commitTs: bigint, ordinal: number) => tellStatements(list, { commitTs, ordinal });

describe('statements that wait for the row that shows their change', () => {
  it('are told together, in order, with what was sent as one string once', () => {
    expect(told(waiting([10n, 0, 1n, ' a '], [10n, 0, 2n, 'b;'], [10n, 1, 3n, 'b;']), 20n, 0).text).toBe('a;\nb;');
    expect(told([], 20n, 0).text).toBeNull();
    expect(told(waiting([10n, 0, 1n, '  ']), 20n, 0).text).toBeNull();
  });

  it('stay statements where a comment ends one: the semicolon does not fall into it', () => {
    const list = waiting([10n, 0, 1n, 'a -- note'], [10n, 0, 2n, 'b; -- note;'], [10n, 0, 3n, '-- note\nc'], [10n, 0, 4n, 'd']);
    expect(told(list, 20n, 0).text).toBe('a -- note\n;\nb; -- note;\n;\n-- note\nc;\nd');
  });

  it('are told by a change behind them, of the same ordinal too, and not by one before', () => {
    const list = waiting([10n, 0, 1n], [10n, 2, 2n], [20n, 0, 3n]);
    expect(told(list, 9n, 0).text).toBeNull();
    expect(told(list, 10n, 1).text).toBe('s1');
    expect(told(list, 10n, 2).text).toBe('s1;\ns2');
    expect(told(list, 19n, 5).text).toBe('s1;\ns2');
  });

  it('are told once in a run', () => {
    const { statements } = told(waiting([10n, 0, 1n], [20n, 0, 2n]), 15n, 0);
    expect(told(statements, 25n, 0).text).toBe('s2');
  });

  it('P7: are told again, and the same, by a run that starts before the event', () => {
    const list = waiting([10n, 0, 1n], [20n, 0, 2n]);
    const first = told(list, 15n, 0);
    const second = told(first.statements, 25n, 0);
    const again = restoreStatements(second.statements, 14n);
    expect(told(again, 15n, 0).text).toBe(first.text);
    expect(told(told(again, 15n, 0).statements, 25n, 0).text).toBe(second.text);
  });

  it('P7: are there once where the stream brings them again', () => {
    const list = waiting([10n, 0, 1n]);
    expect(withStatement(list, { commitTs: 10n, ordinal: 0, lsn: 1n, query: 's1' })).toBe(list);
    const { statements } = told(list, 15n, 0);
    expect(told(withStatement(statements, { commitTs: 10n, ordinal: 0, lsn: 1n, query: 's1' }), 16n, 0).text).toBeNull();
  });

  it('are forgotten when the event is durable', () => {
    const { statements } = told(waiting([10n, 0, 1n], [20n, 0, 2n]), 15n, 0);
    expect(pruneStatements(statements, 14n)).toBe(statements);
    expect(pruneStatements(statements, 15n).map(({ lsn }) => lsn)).toEqual([2n]);
    expect(restoreStatements(statements, 15n).map(({ lsn }) => lsn)).toEqual([2n]);
  });

  it('are sixteen at most: the oldest go', () => {
    const list = waiting(...Array.from({ length: 20 }, (_, i) => [BigInt(i + 1), 0, BigInt(i + 1)] as [bigint, number, bigint]));
    expect(list.map(({ lsn }) => Number(lsn))).toEqual(Array.from({ length: 16 }, (_, i) => i + 5));
  });

  const manyAt = (commitTs: bigint) =>
    waiting(...Array.from({ length: 20 }, (_, i) => [commitTs, 0, BigInt(i + 1)] as [bigint, number, bigint]));

  it.each([
    ['of one transaction', manyAt(7n)],
    ['of which one came behind another', waiting([5n, 0, 20n], [6n, 0, 3n])],
  ])('P7: what was left out, or is there, is not made news by a replay: %s', (_title, list) => {
    const restored = restoreStatements(told(list, 30n, 0).statements, 4n);
    const first = { commitTs: list[0]!.commitTs, ordinal: 0, lsn: 1n, query: 's1' };
    expect(withStatement(restored, first)).toBe(restored);
    expect(told(restored, 30n, 0).text).toBe(told(list, 30n, 0).text);
  });

  it('P7: more than sixteen that were told, each by a row of its own, are told the same by a replay', () => {
    let list: readonly DdlStatement[] = [];
    const texts = (at: bigint) => {
      const { text, statements } = told(list, at, 1);
      list = statements;
      return text;
    };
    const all = Array.from({ length: 40 }, (_, i) => ({ commitTs: BigInt(i + 1), ordinal: 0, lsn: BigInt(i + 1), query: `s${i + 1}` }));
    const run = () =>
      all.map((statement) => {
        list = withStatement(list, statement);
        return texts(statement.commitTs);
      });
    const before = run();
    list = restoreStatements(list, 0n);
    expect(run()).toEqual(before);
    expect(before).toEqual(all.map(({ query }) => query));
  });
});
