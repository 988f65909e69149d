import { describe, expect, it } from '@jest/globals';
import { dmlEvent, type Row, type RowBlock } from '../../lib/events/index.ts';
import { deliveryOf, notationOf } from '../../lib/testing/index.ts';
import { filterRows, mapRows } from '../../operators/index.ts';
import { blockOf, type Change, textTable } from '../lib/events/rows.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';
import { blockThrough, rowTexts, throughStage } from '../support/rows.ts';

interface User {
  id: string;
  email: string | null;
}

describe('mapRows', () => {
  const users = textTable(['id', 'email']);
  const mask = mapRows<User>('public.users', (row) => row.update('email', (email) => `#${email.length}`));

  it('gives each row what the function makes of it, both images of an update', () => {
    eventMarbles(
      ({ events, expectEvents }) => {
        const source = events('users@5{id:1,email:ann}-users@6{id:1,email:ann>email:anna}-log@7-|');
        const expected = '     users@5{id:1,email:#3}--users@6{id:1,email:#3>email:#4}----log@7-|';
        expectEvents(source.pipe(mask)).toBe(expected);
      },
      { tables: { users: ['!id', 'email'] } },
    );
  });

  it.each<[string, Change, string]>([
    ['an insert', { row: ['1', 'a@b.c'] }, 'I id=1 email=#5'],
    ['both images of an update', { old: ['1', 'a@b.c'], row: ['1', 'aa@b.c'] }, 'U id=1 email=#6 < id=1 email=#5'],
    ['an update with a key-only old image', { key: ['1', null], row: ['2', 'a@b.c'] }, 'U id=2 email=#5 < id=1'],
    ['the old image of a delete', { old: ['1', 'a@b.c'] }, 'D id=1 email=#5'],
    ['no column outside a key-only image', { key: ['1', null] }, 'D id=1'],
    ['no null', { row: ['1', null] }, 'I id=1 email=null'],
    ['no unchanged TOAST value, but the old one', { old: ['1', 'a@b.c'], row: ['1', undefined] }, 'U id=1 email=~ < id=1 email=#5'],
  ])('masks %s', (_, change, expected) => {
    expect(rowTexts(blockThrough(mask, blockOf(users, [change]))!)).toEqual([expected]);
  });

  it('costs no copy for rows that come back as they were', () => {
    const event = dmlEvent(blockOf(users, [{ row: ['1', 'x'] }]));
    expect(
      throughStage(
        mapRows('public.users', (row) => row),
        event,
      ).events[0],
    ).toBe(event);
  });

  const some = blockOf(users, [
    { row: ['1', 'one'] },
    { row: ['2', 'two'], commitTs: 2n, ordinal: 0 },
    { row: ['3', 'three'], commitTs: 2n, ordinal: 5 },
  ]);
  const only = (id: string, email: string) =>
    mapRows<User>('public.users', (row) => (row.get('id') === id ? row.set('email', email) : row));

  it('writes changed rows beside the others, which stay where they are, with their positions', () => {
    const mapped = blockThrough(only('2', 'zwei'), some)!;
    expect(rowTexts(mapped)).toEqual(['I id=1 email=one', 'I id=2 email=zwei', 'I id=3 email=three']);
    expect(mapped.bytes).toBe(some.bytes);
    expect(positions(mapped)).toEqual(positions(some));
  });

  it('keeps the rows that a stage before it has changed, and changes them again', () => {
    const twice = blockThrough(only('3', 'drei'), blockThrough(only('2', 'zwei'), some)!)!;
    expect(rowTexts(twice)).toEqual(['I id=1 email=one', 'I id=2 email=zwei', 'I id=3 email=drei']);
    const again = blockThrough(only('2', 'deux'), twice)!;
    expect(rowTexts(again)).toEqual(['I id=1 email=one', 'I id=2 email=deux', 'I id=3 email=drei']);
  });

  it('lets go of the bytes it has replaced altogether', () => {
    const mapped = blockThrough(mask, blockOf(users, [{ row: ['1', 'x'.repeat(1000)] }, { row: ['2', 'y'.repeat(1000)] }]))!;
    expect(rowTexts(mapped)).toEqual(['I id=1 email=#1000', 'I id=2 email=#1000']);
    expect(mapped.retainedBytes).toBeLessThan(100);
  });

  it('gives slices and selections of a mapped block the same rows', () => {
    const mapped = blockThrough(only('2', 'zwei'), some)!;
    expect(rowTexts(mapped.slice(1, 3))).toEqual(['I id=2 email=zwei', 'I id=3 email=three']);
    expect(
      rowTexts(
        blockThrough(
          filterRows<User>('public.users', (row) => row.get('email') === 'zwei'),
          mapped,
        )!,
      ),
    ).toEqual(['I id=2 email=zwei']);
  });

  it('reads one mapped block while another is being made, because what is emitted is never written to again', () => {
    const stage = only('2', 'zwei');
    const first = dmlEvent(some);
    const second = dmlEvent(blockOf(users, [{ row: ['2', 'other'] }, { row: ['9', 'nine'] }]));
    const { events } = throughStage(stage, first, second);
    expect(events.map((event) => (event.type === 'dml' ? rowTexts(event.rows) : []))).toEqual([
      ['I id=1 email=one', 'I id=2 email=zwei', 'I id=3 email=three'],
      ['I id=2 email=zwei', 'I id=9 email=nine'],
    ]);
  });

  let kept: Row<User> | null = null;
  it.each<[string, (row: Row<User>) => Row<User>]>([
    ['nothing', () => undefined as unknown as Row<User>],
    ['something else', () => ({}) as unknown as Row<User>],
    ['the other image', (row) => row.old ?? row],
    ['a row from before', (row) => (kept ??= row.set('email', 'x')).set('id', '7')],
  ])('refuses a function that returns %s', (what, fn) => {
    if (what === 'a row from before') throughStage(mapRows<User>('public.users', fn), dmlEvent(blockOf(users, [{ row: ['1', 'x'] }])));
    const { error } = throughStage(
      mapRows<User>('public.users', fn),
      dmlEvent(blockOf(users, [{ old: ['1', 'x'], row: ['1', 'y'], commitTs: 9n }])),
    );
    expect(error).toMatchObject({ code: 'MR_STAGE_FAILED', details: { stage: 'mapRows', position: '9/0', table: 'public.users' } });
    expect(String(error)).toMatch(/must return the row it was given/);
  });

  it('names the position of the row whose function threw', () => {
    const { error } = throughStage(
      mapRows<{ nope: string }>('public.users', (row) => row.set('nope', 'x')),
      dmlEvent(some),
    );
    expect(error).toMatchObject({ code: 'MR_STAGE_FAILED', details: { position: '1/0' } });
    expect(String(error)).toMatch(/MR_UNKNOWN_COLUMN.*nope.*id, email/);
  });

  it('leaves other tables, schema changes and TRUNCATEs alone', () => {
    eventMarbles(({ events, expectEvents }) => {
      const source = events('[b@5,ddl:a@5,truncate:a@5,res@5]-|');
      const expected = '     [b@5,ddl:a@5,truncate:a@5,res@5]-|';
      const fail = mapRows('public.a', () => {
        throw new Error('not here');
      });
      expectEvents(source.pipe(fail)).toBe(expected);
    });
  });

  operatorLaws({ make: () => mapRows('public.a', (row) => row.set('note', 'x')), items: () => [deliveryOf('a@5.0..2')], show: notationOf });
});

function positions(block: RowBlock) {
  return Array.from({ length: block.rowCount }, (_, row) => block.positionOf(row));
}
