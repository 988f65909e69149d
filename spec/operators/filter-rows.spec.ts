import { describe, expect, it } from '@jest/globals';
import { dmlEvent } from '../../lib/events/index.ts';
import { deliveryOf, notationOf } from '../../lib/testing/index.ts';
import { filterRows } from '../../operators/index.ts';
import { blockOf, textTable } from '../lib/events/rows.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';
import { blockThrough, rowTexts, throughStage } from '../support/rows.ts';

interface Note {
  id: string;
  note: string | null;
}

interface Order {
  id: string;
  region: string;
}

describe('filterRows', () => {
  const users = textTable(['id', 'note']);

  it('passes on the rows for which the predicate holds', () => {
    eventMarbles(
      ({ events, expectEvents }) => {
        const source = events('orders@5{id:1,region:eu}{id:2,region:us}-orders@6{id:3,region:us}-log@7-|');
        const expected = '     orders@5{id:1,region:eu}------------------------------------------log@7-|';
        expectEvents(source.pipe(filterRows<Order>('public.orders', (row) => row.get('region') === 'eu'))).toBe(expected);
      },
      { tables: { orders: ['!id', 'region'] } },
    );
  });

  it('keeps their positions', () => {
    eventMarbles(({ events, expectDeliveries }) => {
      const source = events('a@5.0..5+6.0..3---a@7.1-|');
      const expected = '     a@5+5.2+5.4+6+6.2-[]----|';
      const even = filterRows<Note>('public.a', (row) => Number(row.get('id')) % 2 === 0);
      expectDeliveries(source.pipe(even)).toBe(expected);
    });
  });

  it('asks about the new image of an update and the old one of a delete', () => {
    const block = blockOf(users, [
      { row: ['1', 'keep'] },
      { row: ['2', 'drop'] },
      { old: ['3', 'drop'], row: ['3', 'keep'] },
      { old: ['4', 'keep'], row: ['4', 'drop'] },
      { old: ['5', 'keep'] },
      { key: ['6', null] },
    ]);
    const kept = blockThrough(
      filterRows<Note>('public.users', (row) => row.get('note') === 'keep'),
      block,
    );
    expect(rowTexts(kept!)).toEqual(['I id=1 note=keep', 'U id=3 note=keep < id=3 note=drop', 'D id=5 note=keep']);
  });

  it('passes the very event on when all rows are kept', () => {
    const event = dmlEvent(blockOf(users, [{ row: ['1', 'x'] }]));
    expect(
      throughStage(
        filterRows('public.users', () => true),
        event,
      ).events[0],
    ).toBe(event);
  });

  it('leaves other tables, schema changes and TRUNCATEs alone', () => {
    eventMarbles(({ events, expectEvents }) => {
      const source = events('[b@5,ddl:a@5,truncate:a@5,res@5]-|');
      const expected = '     [b@5,ddl:a@5,truncate:a@5,res@5]-|';
      expectEvents(source.pipe(filterRows('public.a', () => false))).toBe(expected);
    });
  });

  it('lets go of the bytes when little of them is left, because a block pins whole buffers', () => {
    const block = blockOf(users, [{ row: ['1', 'x'.repeat(1000)] }, { row: ['2', 'short'] }]);
    const kept = blockThrough(
      filterRows<Note>('public.users', (row) => row.get('id') === '2'),
      block,
    );
    expect(rowTexts(kept!)).toEqual(['I id=2 note=short']);
    expect(kept!.retainedBytes).toBeLessThan(100);
  });

  it('names the position of the row whose predicate threw', () => {
    const block = blockOf(users, [
      { row: ['1', 'x'], commitTs: 7n },
      { row: ['2', null], commitTs: 8n, ordinal: 4 },
    ]);
    const { error } = throughStage(
      filterRows<Note>('public.users', (row) => row.get('note')!.length > 0),
      dmlEvent(block),
    );
    expect(error).toMatchObject({ code: 'MR_STAGE_FAILED', details: { stage: 'filterRows', position: '8/4', table: 'public.users' } });
  });

  it('selects tables by pattern', () => {
    expect(() => filterRows('users', () => true)).toThrow(/MR_INVALID_OPTION/);
    const stage = filterRows('*.users', () => false);
    expect(blockThrough(stage, blockOf(users, [{ row: ['1', 'x'] }]))).toBeNull();
  });

  operatorLaws({
    make: () => filterRows('public.a', (row) => row.get('id') !== '0'),
    items: () => [deliveryOf('a@5.0..2')],
    show: notationOf,
  });
});
