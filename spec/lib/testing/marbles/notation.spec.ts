import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type DmlEvent, rowsOf, tableOf } from '../../../../lib/events/index.ts';
import { deliveryOf, dispatcherNamed, eventOf, MarbleTables, notationOf, tableNamed } from '../../../../lib/testing/index.ts';
import { printEvent } from '../../../../lib/testing/marbles/print.ts';
import { readEvent } from '../../../../lib/testing/marbles/read-event.ts';
import { Scanner } from '../../../../lib/testing/marbles/scanner.ts';
import { rowTexts } from '../../../support/rows.ts';
import { anySketch } from './sketches.ts';

const users = new MarbleTables({
  users: ['!id int4', 'email text', 'bio text'],
  log: { columns: ['at', 'what'], replicaIdentity: 'full' },
});

function rowsIn(text: string, tables?: MarbleTables): string[] {
  return rowTexts((eventOf(text, tables) as DmlEvent).rows);
}

describe('the notation of events', () => {
  it('is print of parse of itself, whatever the event', () => {
    fc.assert(
      fc.property(anySketch(), (sketch) => {
        const text = printEvent(sketch);
        const scanner = new Scanner(text);
        expect(readEvent(scanner)).toEqual(sketch);
        expect(scanner.isAtEnd).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    'a@5',
    'a@5.2',
    'a@5.2..4',
    'a@5.0..1+6',
    'a@5+5.2+6.1',
    'shop.orders@5',
    '"two words"."a.b"@5',
    '"res"@5',
    'a>lake.b@5',
    'a@5{id:1,note:ann}',
    'a@5{}',
    'a@5{id:1}{id:2}',
    'a@5.2{id:1>}+5.2{id:3}',
    'a@5.0..1+5.2{id:7}+6',
    'a@5{id:1>note:bob}',
    'a@5{id:1,note:ann>note:bob}',
    'a@5{id:1,note:ann>note:null}',
    'a@5{id:1,note:null>note:bob}',
    'a@5{id:1>id:2,note:?}',
    'a@5{>id:1,note:x}',
    'a@5{id:1>}',
    'a@5{id:1,note:ann>}',
    'a@5{id:1,note:ann>id:1}',
    'a@5{id:1,note:"a b"}',
    'a@5{id:1,note:"null"}',
    'a@5{id:1,note:""}',
    'a@5{id:1,note:"\\""}',
    'a@5{id:1,note:2024-01-01T10:00:00Z}',
    'a@5#1.2',
    'ddl:a@5',
    'ddl:a@5.2v7',
    'ddl:a>lake.b@5',
    'truncate:a@5.2',
    'truncate:a@5.2v6',
    'sync@7',
    'sync:a@7',
    'res@7',
    'res:a@7#1.2',
    'marker:*',
    'marker:a',
    'hello:a#1.1',
    'hello:a@5#1.1',
    'ready:a',
    'gone:a',
    'lost:a#2.4',
    'lost:a@9#2.4',
    '[]',
    '[a@5,res@5]',
  ])('%s is an event, and its notation is that text', (text) => {
    expect(notationOf(deliveryOf(text))).toBe(text);
  });

  it.each([
    ['a row of which nothing is said has its ordinal as its key', 'a@5.3', ['I id=3 note=null']],
    ['an insert', 'a@5{id:1,note:x}', ['I id=1 note=x']],
    ['what an insert leaves out is null', 'a@5{note:x}', ['I id=null note=x']],
    ['an update without an old image', 'a@5{>id:1,note:x}', ['U id=1 note=x']],
    ['an old image of the key alone', 'a@5{id:1>id:2,note:x}', ['U id=2 note=x < id=1']],
    ['an old image that names more is a full one', 'a@5{id:1,note:x>note:y}', ['U id=1 note=y < id=1 note=x']],
    ['what an update leaves out is as it was', 'a@5{id:1,note:x>id:2}', ['U id=2 note=x < id=1 note=x']],
    ['and null where the old image does not have it', 'a@5{id:1>id:2}', ['U id=2 note=null < id=1']],
    ['P9: an unchanged TOAST value', 'a@5{id:1>note:?}', ['U id=1 note=~ < id=1']],
    ['a delete with its key', 'a@5{id:1>}', ['D id=1']],
    ['a delete with its row', 'a@5{id:1,note:x>}', ['D id=1 note=x']],
    ['several rows of a transaction', 'a@5.2{id:7}{id:8>}', ['I id=7 note=null', 'D id=8']],
  ])('%s: %s', (_, text, expected) => {
    expect(rowsIn(text)).toEqual(expected);
  });

  it('takes the columns of tables that are given', () => {
    expect(rowsIn('users@5{id:1,email:ann}', users)).toEqual(['I id=1 email=ann bio=null']);
    expect(rowsIn('users@5.4', users)).toEqual(['I id=4 email=null bio=null']);
    expect(tableOf(eventOf('users@5', users) as DmlEvent).columns.map(({ type }) => type)).toEqual(['int4', 'text', 'text']);
    expect(rowsIn('a@5', users)).toEqual(['I id=0 note=null']);
  });

  it('gives an old image every column where the replica identity is full', () => {
    expect(rowsIn('log@5{at:1>what:x}', users)).toEqual(['U at=1 what=x < at=1 what=null']);
    expect(rowsIn('log@5.7', users)).toEqual(['I at=7 what=null']);
  });

  it('P9: fills nothing: a value that was not sent is not sent', () => {
    const [row] = rowsOf((eventOf('a@5{>id:1,note:?}') as DmlEvent).rows);
    expect([row!.isUnchanged('note'), row!.isUnchanged('id')]).toEqual([true, false]);
  });

  it('puts rows into the table version that the last schema change before them began', () => {
    const { events } = deliveryOf('a@4 ddl:a@5 a@5 b@5 truncate:a@6.1v7 a@7 ddl:b@8');
    const versions = events.map((event) => tableOf(event as DmlEvent).version);
    expect(versions).toEqual([1n, 5n, 5n, 1n, 7n, 7n, 8n]);
  });

  it('gives the same table for the same name and version, and the dispatcher of its name', () => {
    const [first, second] = deliveryOf('a@5 a@6').events as DmlEvent[];
    expect(first!.rows.table).toBe(second!.rows.table);
    expect([first!.rows.table, first!.dispatcher]).toEqual([tableNamed('a'), dispatcherNamed('a')]);
    expect(dispatcherNamed('shop.a')).not.toBe(dispatcherNamed('a'));
    expect(tableNamed('a', 2n)).not.toBe(tableNamed('a'));
  });

  it('counts 100 bytes an event', () => {
    expect([deliveryOf('').bytes, deliveryOf('a@5 b@5').bytes]).toEqual([0, 200]);
  });

  it('shows what no diagram has named by its identity', () => {
    const foreign = { ...eventOf('ready:a'), dispatcher: 'f'.repeat(32) as DmlEvent['dispatcher'] };
    expect(notationOf(foreign)).toBe(`ready:${'f'.repeat(32)}`);
  });

  it.each([
    ['an unknown column', () => eventOf('users@5{id:1,emial:x}', users), /table public\.users has no column emial; it has id, email, bio/],
    ['no event', () => eventOf(''), /0 events instead of one/],
    ['two events', () => eventOf('a@5 b@5'), /2 events instead of one/],
    ['a letter', () => deliveryOf('a@5 x'), /x is no event/],
    ['time in a delivery', () => deliveryOf('a@5-b@5'), /events and nothing else/],
    ['a table without a name', () => new MarbleTables({ '': [] }), /table name is missing/],
    ['a column of two words and more', () => new MarbleTables({ a: ['id big int'] }).table({ schema: 'public', name: 'a' }), /no column/],
  ])('refuses %s, and says why', (_, act, message) => {
    expect(act).toThrow(message);
    expect(act).toThrow(/MR_MARBLES_MALFORMED/);
  });
});
