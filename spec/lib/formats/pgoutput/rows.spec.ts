import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ByteWriter, type ColumnValue, RowBlockBuilder, RowCursor, writeTuple } from '../../../../lib/events/index.ts';
import { MessageKind, PgoutputReader } from '../../../../lib/formats/pgoutput/index.ts';
import { textTable, writeChange } from '../../events/rows.ts';

const NAMES = ['id', 'a', 'b', 'c'];
const TABLE = textTable(NAMES);

const text = fc.string({ unit: 'binary', maxLength: 12 }).map((value) => value.toWellFormed());
const value = fc.oneof(text, fc.constant(null));
const tuple = fc.array(fc.oneof(value, fc.constant(undefined)), { minLength: 4, maxLength: 4 });
const full = fc.array(value, { minLength: 4, maxLength: 4 });
const change = fc.oneof(
  fc.record({ row: tuple }),
  fc.record({ row: tuple, old: full }),
  fc.record({ row: tuple, key: full }),
  fc.record({ old: full }),
  fc.record({ key: full }),
);

/** What a user sees of one image: columns that were sent. */
function seen(values: readonly ColumnValue[], isKeyOnly: boolean): Record<string, ColumnValue> {
  return Object.fromEntries(
    NAMES.map((name, i) => [name, values[i]] as const).filter(([name, v]) => v !== undefined && (!isKeyOnly || name === 'id')),
  );
}

describe('rows of pgoutput messages', () => {
  it('come out of a row block as they went in: text, null, unchanged, key-only and full old images', () => {
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
        const reader = new PgoutputReader();
        const builder = new RowBlockBuilder();
        const writer = new ByteWriter(8);
        const ends = changes.map((one) => {
          const start = writer.length;
          writer.writeBytes(Buffer.from([0, 0, 0, 0x40, 1]));
          const { op } = writeChange(writer, one);
          // An update without an old image looks like an insert but for its type byte; every third is one.
          writer.buffer[start] = op === MessageKind.insert && start % 3 === 0 ? MessageKind.update : op;
          return { start, end: writer.length };
        });
        const bytes = writer.take();
        builder.beginTransaction(1n, 1n);
        ends.forEach(({ start, end }, ordinal) => {
          reader.read(bytes, start, end);
          expect(reader.columnCount).toBe(4);
          builder.append(reader.op, reader.rowAt, ordinal);
        });

        const cursor = new RowCursor();
        const block = builder.build(TABLE, bytes);
        changes.forEach((one, i) => {
          const before = 'key' in one ? one.key : 'old' in one ? one.old : null;
          const row = cursor.moveTo(block, i);
          const old = row.isOld ? row : row.old;
          expect(old === null ? null : old.toObject()).toEqual(before === null ? null : seen(before, 'key' in one));
          expect(row.isOld ? null : row.toObject()).toEqual('row' in one ? seen(one.row, false) : null);
        });
      }),
      { numRuns: 500 },
    );
  });

  it('may be as wide as PostgreSQL allows', () => {
    const names = Array.from({ length: 1600 }, (_, i) => `c${i}`);
    const writer = new ByteWriter();
    writer.writeBytes(Buffer.from('I\0\0\x40\x01N'));
    writeTuple(writer, names);
    const bytes = writer.take();
    const reader = new PgoutputReader();
    reader.read(bytes, 0, bytes.length);
    const builder = new RowBlockBuilder();
    builder.append(reader.op, reader.rowAt, 0);
    const row = new RowCursor().moveTo(builder.build(textTable(names), bytes), 0);
    expect(reader.columnCount).toBe(1600);
    expect(Object.values(row.toObject())).toEqual(names);
  });
});
