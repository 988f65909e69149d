import { describe, expect, it } from '@jest/globals';
import { ddlEvent, dmlEvent, tableOf, truncateEvent } from '../../lib/events/index.ts';
import { deliveryOf, notationOf } from '../../lib/testing/index.ts';
import { projectColumns } from '../../operators/index.ts';
import { blockOf, textTable } from '../lib/events/rows.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';
import { blockThrough, rowTexts, throughStage } from '../support/rows.ts';

describe('projectColumns', () => {
  const users = textTable(['id', 'email', 'note', 'age']);
  const block = blockOf(users, [
    { row: ['1', 'e', 'n', '7'] },
    { old: ['1', 'e', 'n', '7'], row: ['1', 'f', 'n', '8'] },
    { key: ['1', null, null, null] },
  ]);

  it('leaves the listed columns', () => {
    eventMarbles(
      ({ events, expectEvents }) => {
        const source = events('users@5{id:1,email:ann,age:7}-users@6{id:1>email:bob,age:8}-|');
        const expected = '     users@5{id:1,age:7}-----------users@6{id:1>age:8}-----------|';
        expectEvents(source.pipe(projectColumns('public.users', ['id', 'age']))).toBe(expected);
      },
      { tables: { users: ['!id', 'email', 'age'] } },
    );
  });

  it('leaves the listed columns, in the order of the table, over the same bytes', () => {
    const projected = blockThrough(projectColumns('public.users', ['age', 'id']), block)!;
    expect(rowTexts(projected)).toEqual(['I id=1 age=7', 'U id=1 age=8 < id=1 age=7', 'D id=1']);
    expect(projected.bytes).toBe(block.bytes);
  });

  it('makes one table version of each, so that later stages and the sink see it stay the same', () => {
    const next = textTable(['id', 'email', 'age'], ['id'], { version: 2n });
    const fields = { position: { commitTs: 2n, ordinal: 0 }, commitTimeUs: 0n, table: next };
    const { events } = throughStage(
      projectColumns('public.users', ['id', 'age']),
      dmlEvent(block),
      dmlEvent(block),
      ddlEvent(fields),
      truncateEvent({ ...fields, query: 'TRUNCATE' }),
    );
    const tables = events.map(tableOf);
    expect(tables[1]).toBe(tables[0]);
    expect(tables[3]).toBe(tables[2]);
    expect(tables.map(({ version, columns }) => [version, columns.map(({ name }) => name).join()])).toEqual([
      [1n, 'id,age'],
      [1n, 'id,age'],
      [2n, 'id,age'],
      [2n, 'id,age'],
    ]);
    expect(events.map(({ type }) => type)).toEqual(['dml', 'dml', 'ddl', 'truncate']);
  });

  it.each([
    ['the primary key', users, ['note'], /MR_INVALID_OPTION.*key columns of public\.users: id missing/],
    ['a part of it', textTable(['a', 'b', 'c'], ['a', 'b']), ['a', 'c'], /key columns of public\.users: b missing/],
    ['the primary key under a full identity', textTable(['id', 'note'], ['id'], { replicaIdentity: 'full' }), ['note'], /: id missing/],
    ['a column that is not there', users, ['id', 'Note'], /MR_UNKNOWN_COLUMN.*Note.*id, email, note, age/],
  ])('fails at the first event when the list lacks or has %s', (_, table, columns, message) => {
    const { error } = throughStage(
      projectColumns('public.users', columns),
      dmlEvent(blockOf(table, [{ row: table.columns.map(() => '1') }])),
    );
    expect(error).toMatchObject({ code: 'MR_STAGE_FAILED', details: { stage: 'projectColumns', table: 'public.users' } });
    expect(String(error)).toMatch(message);
  });

  it('lets a table without a key lose any column, because its rows are found by what is left of them', () => {
    const log = textTable(['at', 'what'], [], { replicaIdentity: 'full' });
    const projected = blockThrough(projectColumns('public.users', ['what']), blockOf(log, [{ row: ['1', 'x'] }]))!;
    expect(rowTexts(projected)).toEqual(['I what=x']);
  });

  it('leaves other tables alone', () => {
    eventMarbles(({ events, expectEvents }) => {
      const source = events('[b@5,ddl:b@5,res@5]-|');
      const expected = '     [b@5,ddl:b@5,res@5]-|';
      expectEvents(source.pipe(projectColumns('public.a', ['nope']))).toBe(expected);
    });
  });

  it('refuses an empty list at once', () => {
    expect(() => projectColumns('public.a', [])).toThrow(/MR_INVALID_OPTION/);
  });

  operatorLaws({ make: () => projectColumns('public.a', ['id']), items: () => [deliveryOf('a@5.0..2')], show: notationOf });
});
