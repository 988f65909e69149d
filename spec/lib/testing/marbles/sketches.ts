import fc from 'fast-check';
import type { ChangeSketch, EventSketch, RowSketch, TableName, ValueSketch } from '../../../../lib/testing/marbles/sketch.ts';

/** Any event that a diagram can say, in its canonical form. */
export function anySketch(): fc.Arbitrary<EventSketch> {
  const session = { epoch: u64(), seq: u64() };
  const version = fc.option(u64());
  return fc.oneof(
    fc.record({ kind: fc.constant('rows' as const), table: tableName(), target: fc.option(tableName()), rows: rows(), ...session }),
    fc
      .record({
        kind: fc.constantFrom('ddl' as const, 'truncate' as const),
        table: tableName(),
        target: fc.option(tableName()),
        commitTs: u64(),
        ordinal: ordinal(),
        version,
        ...session,
      })
      .map((sketch) => (sketch.version === sketch.commitTs ? { ...sketch, version: null } : sketch)),
    fc.record({ kind: fc.constantFrom('sync' as const, 'res' as const), table: fc.option(tableName()), commitTs: u64(), ...session }),
    fc.record({ kind: fc.constant('marker' as const), table: fc.option(tableName()), commitTs: fc.constant(0n), ...session }),
    fc.record({
      kind: fc.constantFrom('hello' as const, 'ready' as const, 'gone' as const, 'lost' as const),
      table: tableName(),
      commitTs: u64(),
      ...session,
    }),
  );
}

function u64(): fc.Arbitrary<bigint> {
  return fc.oneof(fc.bigInt({ min: 0n, max: 20n }), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }));
}

function ordinal(): fc.Arbitrary<number> {
  return fc.oneof(fc.nat(5), fc.nat(2 ** 32 - 100));
}

function tableName(): fc.Arbitrary<TableName> {
  const name = fc.oneof(
    fc.constantFrom('a', 'users', 'res', 'sync', 'ddl', 'my table', 'a"b', 'ä', '1st'),
    fc.string({ minLength: 1, maxLength: 6 }),
  );
  return fc.record({ schema: fc.oneof(fc.constant('public'), name), name });
}

/** Rows in position order. */
function rows(): fc.Arbitrary<RowSketch[]> {
  const step = fc.record({ newTransaction: fc.boolean(), gap: fc.nat(3), change: fc.option(change()) });
  return fc
    .record({ commitTs: fc.bigInt({ min: 0n, max: 1000n }), first: fc.nat(1000), steps: fc.array(step, { minLength: 1, maxLength: 6 }) })
    .map(({ commitTs, first, steps }) => {
      let place = { commitTs, ordinal: first };
      return steps.map(({ newTransaction, gap, change }, index) => {
        if (index > 0)
          place = newTransaction ? { commitTs: place.commitTs + 1n, ordinal: gap } : { ...place, ordinal: place.ordinal + gap };
        return { ...place, change };
      });
    });
}

function change(): fc.Arbitrary<ChangeSketch> {
  return fc.oneof(
    fc.record({ before: fc.constant(null), after: image() }),
    fc.record({ before: image(1), after: fc.constant(null) }),
    fc.record({ before: image(), after: image(1) }),
  );
}

function image(minLength = 0): fc.Arbitrary<ValueSketch[]> {
  const column = fc.oneof(fc.constantFrom('id', 'note', '__proto__'), fc.string({ maxLength: 5 }));
  const value = fc.oneof(
    fc.constantFrom(null, undefined, '', 'null', '?', 'a b', 'a,b', '{}', '>', '"', '\\', '12:30', '[1]'),
    fc.string({ unit: 'binary', maxLength: 8 }),
    fc.string(),
  );
  return fc.uniqueArray(fc.record({ column, value }), { selector: ({ column }) => column, minLength, maxLength: 3 });
}
