import { describe, expect, it } from '@jest/globals';
import { type Column, dmlEvent, type RowBlock, type Table } from '../../lib/events/index.ts';
import { deliveryOf, notationOf } from '../../lib/testing/index.ts';
import { mapRows, projectColumns, splitKeyUpdates } from '../../operators/index.ts';
import { blockOf, type Change, textTable } from '../lib/events/rows.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';
import { blockThrough, rowTexts, throughStage } from '../support/rows.ts';

describe('splitKeyUpdates', () => {
  const keyed = textTable(['id', 'note']);
  const composite = textTable(['a', 'b', 'note'], ['a', 'b']);
  const full = fullIdentity(textTable(['id', 'note']));
  const keyless = fullIdentity(textTable(['at', 'note'], []));

  it('makes a delete and an insert of an update that changes the key', () => {
    eventMarbles(({ events, expectEvents }) => {
      const source = events('a@5{id:1>id:2,note:x}-----a@6{id:2>note:y}-|');
      const expected = '     a@5{id:1>}+5{id:2,note:x}-a@6{id:2>note:y}-|';
      expectEvents(source.pipe(splitKeyUpdates())).toBe(expected);
    });
  });

  it.each<[string, Table, Change, string[]]>([
    ['a key-only old image', keyed, { key: ['1', null], row: ['2', 'x'] }, ['D id=1', 'I id=2 note=x']],
    ['a full old image', full, { old: ['1', 'x'], row: ['2', 'y'] }, ['D id=1 note=x', 'I id=2 note=y']],
    ['one column of a composite key', composite, { key: ['1', '2', null], row: ['1', '3', 'x'] }, ['D a=1 b=2', 'I a=1 b=3 note=x']],
    ['a key that became longer', keyed, { key: ['1', null], row: ['11', null] }, ['D id=1', 'I id=11 note=null']],
    [
      'a TOAST value filled from the full old image (P9)',
      full,
      { old: ['1', 'big'], row: ['2', undefined] },
      ['D id=1 note=big', 'I id=2 note=big'],
    ],
    ['a TOASTed null filled from it', full, { old: ['1', null], row: ['2', undefined] }, ['D id=1 note=null', 'I id=2 note=null']],
    [
      'a TOASTed part of the key filled from it',
      composite,
      { key: ['1', '2', null], row: ['3', undefined, 'x'] },
      ['D a=1 b=2', 'I a=3 b=2 note=x'],
    ],
  ])('splits an update with %s', (_, table, change, expected) => {
    expect(rowTexts(blockThrough(splitKeyUpdates(), blockOf(table, [change]))!)).toEqual(expected);
  });

  it.each<[string, Table, Change]>([
    ['P9: an unchanged TOAST value would be lost', keyed, { key: ['1', null], row: ['2', undefined] }],
    ['the key is the same', full, { old: ['1', 'x'], row: ['1', 'y'] }],
    ['the key is the same in a key-only image', composite, { key: ['1', '2', null], row: ['1', '2', 'y'] }],
    ['the key was not sent because it did not change', full, { old: ['1', 'x'], row: [undefined, 'y'] }],
    ['nothing says what it was before', keyed, { row: ['2', 'x'] }],
    ['the table has no key', keyless, { old: ['1', 'x'], row: ['2', 'y'] }],
    ['it is a delete', full, { old: ['1', 'x'] }],
  ])('passes the very event on where %s', (_, table, change) => {
    const event = dmlEvent(blockOf(table, [change]));
    expect(throughStage(splitKeyUpdates(), event).events[0]).toBe(event);
  });

  it('splits changed rows of a table without a key where that is asked for, because a format without old images could not say which rows they were', () => {
    const block = blockOf(keyless, [
      { old: ['1', 'x'], row: ['1', 'y'] },
      { old: ['1', 'y'], row: ['1', 'y'] },
    ]);
    const split = blockThrough(splitKeyUpdates({ keyless: 'split' }), block)!;
    expect(rowTexts(split).map((row) => row[0])).toEqual(['D', 'I', 'U']);
  });

  it('splits in place: both halves at the position of the update, the rest as it was', () => {
    const block = blockOf(keyed, [
      { row: ['1', 'a'], commitTs: 5n, ordinal: 3 },
      { key: ['1', null], row: ['2', 'b'], commitTs: 5n, ordinal: 4 },
      { row: ['3', 'c'], commitTs: 6n, ordinal: 0 },
      { key: ['3', null], row: ['4', 'd'], commitTs: 7n, ordinal: 0 },
      { key: ['4', null], commitTs: 7n, ordinal: 1 },
    ]);
    const split = blockThrough(splitKeyUpdates(), block)!;
    expect(rowTexts(split)).toEqual(['I id=1 note=a', 'D id=1', 'I id=2 note=b', 'I id=3 note=c', 'D id=3', 'I id=4 note=d', 'D id=4']);
    expect(positions(split)).toEqual(['5/3', '5/4', '5/4', '6/0', '7/0', '7/0', '7/1']);
    expect(split.transactions.map(({ firstRow }) => firstRow)).toEqual([0, 3, 4]);
    expect(split.bytes).toBe(block.bytes);
    expect(split.patches).toBeNull();
  });

  it('splits a chain of key updates of one row in order', () => {
    const split = blockThrough(
      splitKeyUpdates(),
      blockOf(keyed, [
        { key: ['1', null], row: ['2', 'x'] },
        { key: ['2', null], row: ['1', 'y'] },
      ]),
    )!;
    expect(rowTexts(split)).toEqual(['D id=1', 'I id=2 note=x', 'D id=2', 'I id=1 note=y']);
  });

  it('splits rows that a stage before it has written anew', () => {
    const block = blockOf(full, [
      { row: ['7', 'same'] },
      { old: ['1', 'x'], row: ['2', 'y'] },
      { old: ['3', 'long'], row: ['4', undefined] },
    ]);
    const mapped = blockThrough(
      mapRows('public.users', (row) => (row.get('id') === '7' ? row : row.update('note', (note) => `<${note}>`))),
      block,
    )!;
    expect(rowTexts(blockThrough(splitKeyUpdates(), mapped)!)).toEqual([
      'I id=7 note=same',
      'D id=1 note=<x>',
      'I id=2 note=<y>',
      'D id=3 note=<long>',
      'I id=4 note=<long>',
    ]);
  });

  it('asks nothing of columns that were projected away', () => {
    const projected = blockThrough(projectColumns('public.users', ['id']), blockOf(keyed, [{ key: ['1', null], row: ['2', undefined] }]))!;
    expect(rowTexts(blockThrough(splitKeyUpdates(), projected)!)).toEqual(['D id=1', 'I id=2']);
  });

  it('leaves schema changes, TRUNCATEs and marks alone', () => {
    eventMarbles(({ events, expectEvents }) => {
      const source = events('[ddl:a@5,truncate:a@5,res@5,sync@5]-|');
      const expected = '     [ddl:a@5,truncate:a@5,res@5,sync@5]-|';
      expectEvents(source.pipe(splitKeyUpdates())).toBe(expected);
    });
  });

  operatorLaws({ make: splitKeyUpdates, items: () => [deliveryOf('a@5.0..2')], show: notationOf });
});

function positions(block: RowBlock): string[] {
  return Array.from({ length: block.rowCount }, (_, row) => `${block.positionOf(row).commitTs}/${block.positionOf(row).ordinal}`);
}

/** Under REPLICA IDENTITY FULL every column is in the old image. */
function fullIdentity(table: Table): Table {
  return { ...table, replicaIdentity: 'full', columns: table.columns.map((column): Column => ({ ...column, isIdentity: true })) };
}
