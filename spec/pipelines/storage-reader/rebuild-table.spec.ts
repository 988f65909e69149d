import { describe, expect, it } from '@jest/globals';
import { ddlEvent, dmlEvent, RowBlockWriter, type RowValues, type Table } from '../../../lib/events/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { rebuildTable } from '../../../pipelines/index.ts';
import { column, runSink, type Transaction, table } from '../../support/sink-world.ts';

type Write = (rows: RowBlockWriter) => RowBlockWriter;

/** A transaction of changes to one table version. */
function changes(of: Table, commitTs: bigint, write: Write): Transaction {
  return { commitTs, events: () => [dmlEvent(write(new RowBlockWriter(of).beginTransaction(commitTs)).build())] };
}

function alter(of: Table, write: Write): Transaction {
  const position = { commitTs: of.version, ordinal: 0 };
  return {
    commitTs: of.version,
    events: () => [
      ddlEvent({ position, commitTimeUs: 0n, table: of, query: 'ALTER TABLE', action: 5 }),
      dmlEvent(write(new RowBlockWriter(of).beginTransaction(of.version)).build()),
    ],
  };
}

const insert =
  (...rows: RowValues[]): Write =>
  (writer) =>
    rows.reduce((to: RowBlockWriter, values) => to.insert(values), writer);

const keyed = (version = 1n, columns: Parameters<typeof table>[2] = ['id', 'name', 'big']) => table('t', version, columns, ['id']);
const pair = table('t', 1n, ['a', 'b', 'v'], ['a', 'b']);
const whole = table('t', 1n, ['line', 'level']);

const BOTH = ['canal-json', 'csv'];
/** csv has no way to say that a value is unchanged (P9). */
const CANAL = ['canal-json'];

const CASES: readonly (readonly [title: string, protocols: string[], history: Transaction[], rows: (string | null)[][]])[] = [
  [
    'several changes of one key in one transaction, in their order',
    BOTH,
    [
      changes(keyed(), 10n, (rows) =>
        insert({ id: '1', name: 'a', big: 'x' })(rows)
          .update(null, { id: '1', name: 'b', big: 'x' })
          .delete({ id: '1' })
          .insert({ id: '1', name: 'c', big: null }),
      ),
    ],
    [['1', 'c', null]],
  ],
  [
    'an update of the key moves the row',
    BOTH,
    [changes(keyed(), 10n, (rows) => insert({ id: '1', name: 'a', big: 'x' })(rows).update({ id: '1' }, { id: '2', name: 'a', big: 'x' }))],
    [['2', 'a', 'x']],
  ],
  [
    'keys that trade places within a transaction',
    BOTH,
    [
      changes(keyed(), 10n, (rows) =>
        insert(
          { id: '1', name: 'a', big: '' },
          { id: '2', name: 'b', big: '' },
        )(rows)
          .update({ id: '1' }, { id: '0', name: 'a', big: '' })
          .update({ id: '2' }, { id: '1', name: 'b', big: '' })
          .update({ id: '0' }, { id: '2', name: 'a', big: '' }),
      ),
    ],
    [
      ['1', 'b', ''],
      ['2', 'a', ''],
    ],
  ],
  [
    'P9: an unchanged TOAST value keeps what the row had',
    CANAL,
    [
      changes(keyed(), 10n, insert({ id: '1', name: 'a', big: 'x' })),
      changes(keyed(), 11n, (rows) => rows.update(null, { id: '1', name: 'b' })),
    ],
    [['1', 'b', 'x']],
  ],
  [
    'P9: an update of the key with an unchanged TOAST value moves the row with what it had',
    CANAL,
    [
      changes(keyed(), 10n, insert({ id: '1', name: 'a', big: 'x' })),
      changes(keyed(), 11n, (rows) => rows.update({ id: '1' }, { id: '9', name: 'b' })),
    ],
    [['9', 'b', 'x']],
  ],
  [
    'composite keys whose texts would run together',
    BOTH,
    [
      changes(pair, 10n, (rows) =>
        insert({ a: 'x', b: 'yz', v: '1' }, { a: 'xy', b: 'z', v: '2' }, { a: '', b: '","', v: '3' })(rows).delete({ a: 'x', b: 'yz' }),
      ),
    ],
    [
      ['', '","', '3'],
      ['xy', 'z', '2'],
    ],
  ],
  [
    'P6: rows older than a column get its constant default, and lose a column that was dropped',
    BOTH,
    [
      changes(keyed(), 10n, insert({ id: '1', name: 'a', big: 'x' })),
      alter(
        keyed(20n, ['id', 'name', column('added', 2, { defaultText: "it's" }), column('plain', 3)]),
        insert({ id: '2', name: 'b', added: null, plain: 'p' }),
      ),
    ],
    [
      ['1', 'a', "it's", null],
      ['2', 'b', null, 'p'],
    ],
  ],
  [
    'a column that was dropped and added again begins from its default',
    BOTH,
    [
      changes(keyed(), 10n, insert({ id: '1', name: 'a', big: 'x' })),
      alter(keyed(20n, ['id', 'name']), insert({ id: '2', name: 'b' })),
      alter(keyed(30n, ['id', 'name', 'big']), insert({ id: '3', name: 'c', big: 'y' })),
    ],
    [
      ['1', 'a', null],
      ['2', 'b', null],
      ['3', 'c', 'y'],
    ],
  ],
  [
    'a table without a key is a multiset: one of two like rows changes',
    BOTH,
    [
      changes(whole, 10n, (rows) =>
        insert(
          { line: 'a', level: null },
          { line: 'a', level: null },
          { line: 'b', level: '1' },
        )(rows)
          .update({ line: 'a', level: null }, { line: 'a', level: 'x' })
          .delete({ line: 'b', level: '1' }),
      ),
    ],
    [
      ['a', null],
      ['a', 'x'],
    ],
  ],
  [
    'an update of a row without a key that changes nothing',
    BOTH,
    [
      changes(whole, 10n, (rows) =>
        insert({ line: 'a', level: null })(rows).update({ line: 'a', level: null }, { line: 'a', level: null }),
      ),
    ],
    [['a', null]],
  ],
  [
    'names that are odd as members of an object',
    BOTH,
    [
      changes(
        table('t', 1n, ['__proto__', 'constructor', '10', '2'], ['__proto__']),
        10n,
        insert(JSON.parse('{"__proto__":"p","constructor":"c","10":"x","2":null}') as RowValues),
      ),
    ],
    [['p', 'c', 'x', null]],
  ],
  [
    'P6: a default that older rows are filled with has the form of written values',
    BOTH,
    [
      changes(keyed(), 10n, insert({ id: '1', name: 'a', big: 'x' })),
      alter(
        keyed(20n, [
          'id',
          column('on', 1, { type: 'bool', defaultText: 't' }),
          column('off', 2, { type: 'bool', defaultText: 'f' }),
          column('few', 3, { type: 'float8', defaultText: '0.5' }),
        ]),
        insert({ id: '2', on: 't', off: 'f', few: '0.5' }),
      ),
    ],
    [
      ['1', '1', '0', '0.5'],
      ['2', '1', '0', '0.5'],
    ],
  ],
  [
    'a full old image with a key: the row stays where it is',
    BOTH,
    [
      changes(table('t', 1n, ['id', 'v'], ['id'], { replicaIdentity: 'full' }), 10n, (rows) =>
        insert({ id: '1', v: 'a' })(rows).update({ id: '1', v: 'a' }, { id: '1', v: 'b' }),
      ),
    ],
    [['1', 'b']],
  ],
];

describe('rebuildTable', () => {
  it.each(
    CASES.flatMap(([title, protocols, history, rows]) =>
      protocols.map((protocol) => [`${title} (${protocol})`, protocol, history, rows] as const),
    ),
  )('%s', async (_, protocol, history, rows) => {
    const store = new MemoryStore();
    expect((await runSink(store, history, { protocol })).error).toBeNull();
    const rebuilt = await rebuildTable(store, { schema: 'public', table: 't' });
    expect([...rebuilt.rows()].sort((a, b) => (String(a) < String(b) ? -1 : 1))).toEqual(rows);
    expect(rebuilt.rowCount).toBe(rows.length);
  });

  it.each([
    ['canal-json', ['1', 'A\u00ff', '100000000000000000000']],
    ['csv', ['1', 'Qf8=', '1e+20']],
  ])('P6: fills bytes and large floats in the form of %s', async (protocol, filled) => {
    const store = new MemoryStore();
    const bytes = column('bytes', 1, { type: 'bytea', defaultText: '\\x41ff' });
    const much = column('much', 2, { type: 'float8', defaultText: '1e+20' });
    const history = [
      changes(keyed(1n, ['id']), 10n, insert({ id: '1' })),
      alter(keyed(20n, ['id', bytes, much]), insert({ id: '2', bytes: '\\x41ff', much: '1e+20' })),
    ];
    await runSink(store, history, { protocol });
    const rebuilt = [...(await rebuildTable(store, { schema: 'public', table: 't' })).rows()];
    expect(rebuilt).toEqual([filled, ['2', ...filled.slice(1)]]);
  });

  it('only-output-updated-columns: of rows without a key that share the changed value, the right one changes', async () => {
    const store = new MemoryStore();
    const history = [
      changes(whole, 10n, (rows) =>
        insert({ line: 'a', level: '2' }, { line: 'b', level: '2' })(rows).update({ line: 'b', level: '2' }, { line: 'b', level: '3' }),
      ),
    ];
    await runSink(store, history, { onlyOutputUpdatedColumns: true });
    const rebuilt = await rebuildTable(store, { schema: 'public', table: 't' });
    expect([...rebuilt.rows()]).toEqual([
      ['a', '2'],
      ['b', '3'],
    ]);
  });

  it('finds a row by its key', async () => {
    const store = new MemoryStore();
    await runSink(store, [changes(pair, 10n, insert({ a: '1', b: '2', v: 'x' }))]);
    const rebuilt = await rebuildTable(store, { schema: 'public', table: 't' });
    expect(rebuilt.keyColumns).toEqual(['a', 'b']);
    expect(rebuilt.get(['1', '2'])).toEqual(['1', '2', 'x']);
    expect(rebuilt.get(['2', '1'])).toBeUndefined();
  });

  it('stops at a position in the past', async () => {
    const store = new MemoryStore();
    const history = [
      changes(keyed(), 10n, insert({ id: '1', name: 'a', big: '' })),
      changes(keyed(), 11n, (rows) => rows.delete({ id: '1' })),
    ];
    await runSink(store, history);
    expect((await rebuildTable(store, { schema: 'public', table: 't' }, { upTo: 10n })).rowCount).toBe(1);
    expect((await rebuildTable(store, { schema: 'public', table: 't' })).rowCount).toBe(0);
  });
});
