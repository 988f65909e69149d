import { describe, expect, it } from '@jest/globals';
import { ByteWriter, OP_UPDATE, type Row, RowBlockBuilder, RowBlockWriter, RowCursor, rowsOf } from '../../../lib/events/index.ts';
import { blockOf, type Change, textTable } from './rows.ts';

interface User {
  id: string;
  email: string | null;
  bio: string | null;
}

const table = textTable(['id', 'email', 'bio']);

function rowOf(change: Change): Row<User> {
  return new RowCursor<User>().moveTo(blockOf(table, [change]), 0);
}

/** The row after `edit`, written and read again. */
function rewritten(change: Change, edit: (row: Row<User>) => { row: Row<User>; old?: Row<User> | null }): Row<User> {
  const block = blockOf(table, [{ row: ['0', 'before', null] }, change]);
  const cursor = new RowCursor<User>();
  const { row, old = cursor.old } = edit(cursor.moveTo(block, 1));
  const writer = new ByteWriter(1);
  writer.writeText('something before');
  const offset = writer.length;
  cursor.write(writer, row, old);
  const patched = block.withPatches(writer.take(), Int32Array.of(block.offsets[0]!, ~offset));
  expect([...rowsOf<User>(patched)].length).toBe(2);
  return new RowCursor<User>().moveTo(patched, 1);
}

describe('Row', () => {
  it('tells null, the empty text and an unchanged TOAST value apart', () => {
    const row = rowOf({ row: ['', null, undefined] });
    expect([row.get('id'), row.get('email'), row.get('bio')]).toEqual(['', null, undefined]);
    expect([row.isUnchanged('id'), row.isUnchanged('email'), row.isUnchanged('bio')]).toEqual([false, false, true]);
    expect(row.toObject()).toEqual({ id: '', email: null });
  });

  it.each<[string, Change, { op: string; isOld: boolean; hasOld: boolean }]>([
    ['an insert', { row: ['1', 'a', null] }, { op: 'insert', isOld: false, hasOld: false }],
    ['an update with an old image', { old: ['1', 'a', null], row: ['1', 'b', null] }, { op: 'update', isOld: false, hasOld: true }],
    ['an update by key', { key: ['1', null, null], row: ['2', 'b', null] }, { op: 'update', isOld: false, hasOld: true }],
    ['a delete', { old: ['1', 'a', null] }, { op: 'delete', isOld: true, hasOld: false }],
  ])('knows what happened in %s', (_, change, expected) => {
    const row = rowOf(change);
    expect({ op: row.op, isOld: row.isOld, hasOld: row.old !== null }).toEqual(expected);
  });

  it('knows an update without an old image', () => {
    const block = blockOf(table, [{ row: ['1', 'a', null] }]);
    const builder = new RowBlockBuilder();
    builder.append(OP_UPDATE, 0, 0);
    const row = new RowCursor<User>().moveTo(builder.build(table, block.bytes), 0);
    expect([row.op, row.isOld, row.old, row.get('email')]).toEqual(['update', false, null, 'a']);
  });

  it('shows both images of an update, and the old one has none before it', () => {
    const row = rowOf({ old: ['1', 'a', 'long'], row: ['1', 'b', undefined] });
    expect([row.get('email'), row.old?.get('email'), row.old?.get('bio')]).toEqual(['b', 'a', 'long']);
    expect([row.old?.isOld, row.old?.old, row.old?.op]).toEqual([true, null, 'update']);
  });

  it('P9: in a key-only old image the other columns are absent, not null', () => {
    for (const old of [rowOf({ key: ['1', null, null] }), rowOf({ key: ['1', null, null], row: ['2', 'b', null] }).old!]) {
      expect(old.toObject()).toEqual({ id: '1' });
      expect(old.get('email')).toBeUndefined();
      expect(old.isUnchanged('email')).toBe(false);
    }
  });

  it('P9: in a full old image a null is null', () => {
    expect(rowOf({ old: ['1', null, null] }).toObject()).toEqual({ id: '1', email: null, bio: null });
  });

  it('knows the commitTs of its transaction', () => {
    expect(rowOf({ row: ['1', null, null], commitTs: 1n << 60n }).position.commitTs).toBe(1n << 60n);
  });

  it('names the columns there are when a name is wrong', () => {
    const row: Row = new RowCursor().moveTo(blockOf(table, [{ row: ['1', null, null] }]), 0);
    expect(() => row.get('Email')).toThrow('MR_UNKNOWN_COLUMN: table public.users has no column Email; it has id, email, bio');
    expect(() => row.set('toString', '')).toThrow('MR_UNKNOWN_COLUMN');
    expect(() => row.isUnchanged('')).toThrow('MR_UNKNOWN_COLUMN');
  });

  describe('set', () => {
    it('gives another row and leaves this one as it is', () => {
      const row = rowOf({ row: ['1', 'a', 'x'] });
      const changed = row.set('email', 'b').set('id', '9');
      expect([row.toObject(), changed.toObject()]).toEqual([
        { id: '1', email: 'a', bio: 'x' },
        { id: '9', email: 'b', bio: 'x' },
      ]);
    });

    it.each<[string, Change['row'], User[keyof User]]>([
      ['a value becomes null', ['1', 'a', null], null],
      ['null becomes a value', ['1', null, null], 'é€😀'],
      ['a value becomes empty', ['1', 'a', null], ''],
    ])('%s, and so it is written', (_, values, value) => {
      const change = { row: values! };
      expect(rowOf(change).set('email', value).get('email')).toBe(value);
      expect(rewritten(change, (row) => ({ row: row.set('email', value) })).toObject()).toEqual({ id: '1', email: value, bio: null });
    });

    it('makes a value of an unchanged one, and copies the others as they were sent', () => {
      const change = { row: ['1', undefined, undefined] };
      const row = rewritten(change, (one) => ({ row: one.set('email', 'new') }));
      expect([row.get('email'), row.isUnchanged('email'), row.isUnchanged('bio')]).toEqual(['new', false, true]);
      expect(rowOf(change).set('bio', 'x').isUnchanged('bio')).toBe(false);
    });

    it.each([undefined, 5, new Date(0)])(
      'refuses %p, because the value before would pass in its place or the row break when it is written',
      (value) => {
        const row = rowOf({ row: ['1', 'secret', null] });
        expect(() => row.set('email', value as unknown as string)).toThrow('MR_INVALID_VALUE');
      },
    );

    it('P9: leaves a column outside of a key-only old image outside', () => {
      const old = rowOf({ key: ['1', null, null] });
      expect(old.set('email', 'x')).toBe(old);
      expect(old.set('id', '2').toObject()).toEqual({ id: '2' });
    });

    it('changes the images of an update each for itself', () => {
      const row = rewritten({ old: ['1', 'a', 'x'], row: ['1', 'b', undefined] }, (one) => ({
        row: one.set('email', 'B'),
        old: one.old?.set('email', 'A') ?? null,
      }));
      expect([row.old?.toObject(), row.toObject(), row.isUnchanged('bio')]).toEqual([
        { id: '1', email: 'A', bio: 'x' },
        { id: '1', email: 'B' },
        true,
      ]);
    });

    it('writes a row of which nothing changed byte by byte', () => {
      const change = { key: ['1', null, null], row: ['2', '', undefined] };
      const block = blockOf(table, [change]);
      const cursor = new RowCursor<User>();
      const writer = new ByteWriter(1);
      cursor.write(writer, cursor.moveTo(block, 0), cursor.old);
      expect(writer.take()).toEqual(block.bytes);
    });

    it('reaches columns through a projection and keeps what it hides', () => {
      const projected = { ...table, columns: [table.columns[2]!, table.columns[0]!] };
      const block = blockOf(table, [{ row: ['1', 'hidden', 'x'] }]).withTable(projected);
      const cursor = new RowCursor<User>();
      const row = cursor.moveTo(block, 0).set('bio', 'y');
      const writer = new ByteWriter(1);
      cursor.write(writer, row, null);
      const written = new RowCursor<User>().moveTo(block.withPatches(writer.take(), Int32Array.of(~0)), 0);
      expect(written.toObject()).toEqual({ bio: 'y', id: '1' });
      expect(() => written.get('email')).toThrow('MR_UNKNOWN_COLUMN');
      const whole = new RowCursor<User>();
      expect(whole.moveTo(written.table === projected ? block.withTable(table) : block, 0).get('email')).toBe('hidden');
    });
  });

  describe('update', () => {
    it('is given values that were sent', () => {
      expect(
        rowOf({ row: ['1', 'Ada', null] })
          .update('email', (email) => email.toUpperCase())
          .get('email'),
      ).toBe('ADA');
    });

    it('lets null, unchanged and absent values be', () => {
      const never = (): string => {
        throw new Error('there is no value');
      };
      const row = rowOf({ row: ['1', null, undefined] });
      expect(row.update('email', never).update('bio', never)).toBe(row);
      const old = rowOf({ key: ['1', null, null] });
      expect(old.update('email', never)).toBe(old);
    });
  });

  it('has columns of any name, those of JavaScript included', () => {
    const names = ['__proto__', 'constructor', 'toString'];
    const named = textTable(names);
    const block = new RowBlockWriter(named)
      .insert(Object.fromEntries([['__proto__', 'x']]))
      .insert(JSON.parse('{"__proto__": null, "constructor": "c", "toString": "s"}'))
      .build();
    const [first, second] = [...rowsOf(block)].map((_, i) => new RowCursor().moveTo(block, i).toObject());
    expect(Object.entries(first!)).toEqual([['__proto__', 'x']]);
    expect(Object.entries(second!)).toEqual([
      ['__proto__', null],
      ['constructor', 'c'],
      ['toString', 's'],
    ]);
    expect(new RowCursor().moveTo(block, 0).isUnchanged('toString')).toBe(true);
  });

  it('is a view: the next row reuses it, toObject makes what may be kept', () => {
    const kept: unknown[] = [];
    const views = new Set<unknown>();
    for (const row of rowsOf<User>(blockOf(table, [{ row: ['1', 'a', null] }, { row: ['2', 'b', null] }]))) {
      views.add(row);
      kept.push(row.toObject());
    }
    expect(views.size).toBe(1);
    expect(kept).toEqual([
      { id: '1', email: 'a', bio: null },
      { id: '2', email: 'b', bio: null },
    ]);
  });
});
