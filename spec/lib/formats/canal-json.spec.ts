import { describe, expect, it } from '@jest/globals';
import { ByteWriter, type ColumnValue, type RowBlock, RowBlockBuilder } from '../../../lib/events/index.ts';
import { type CanalJsonOptions, canalJson } from '../../../lib/formats/canal-json.ts';
import { blockOf, tableOf } from '../../support/blocks.ts';

const NOW = 1668668168200;
const NOTES = tableOf(['!id int8', 'a text', 'b text']);

function encode(block: RowBlock, options: Partial<CanalJsonOptions> = {}): string {
  const out = new ByteWriter(16);
  canalJson({ now: () => NOW, terminator: '\n', ...options }).encode(block, out);
  return out.take().toString();
}

function rowsOf(block: RowBlock, options: Partial<CanalJsonOptions> = {}) {
  const lines = encode(block, options).split('\n').slice(0, -1);
  return lines.map(
    (line) =>
      JSON.parse(line) as { data: object[]; old: object[] | null; sqlType: object; mysqlType: object; type: string; pkNames: unknown },
  );
}

/** spec storage-sink §6.2 */
describe('canalJson', () => {
  it('writes the vector of the spec, byte for byte', () => {
    const table = tableOf(['!id int4', { name: 'c', type: 'varchar', typeModifier: 24 }], { schema: 'test' });
    expect(encode(blockOf(table, [{ insert: ['1', 'x'] }]), { enableTidbExtension: false, terminator: '' })).toBe(
      '{"id":0,"database":"test","table":"t","pkNames":["id"],"isDdl":false,"type":"INSERT","es":1668668168117,"ts":1668668168200,"sql":"","sqlType":{"id":4,"c":12},"mysqlType":{"id":"int","c":"varchar"},"old":null,"data":[{"id":"1","c":"x"}]}',
    );
  });

  it('ends each row with CRLF and carries the commit-ts by default', () => {
    const out = new ByteWriter();
    canalJson({ now: () => NOW }).encode(blockOf(NOTES, [{ insert: ['1', null, null] }], 438347201540472834n), out);
    expect(out.take().toString()).toMatch(/"data":\[\{"id":"1","a":null,"b":null\}\],"_tidb":\{"commitTs":438347201540472834\}\}\r\n$/);
  });

  it('puts the image before a delete in data', () => {
    const [row] = rowsOf(blockOf(NOTES, [{ delete: ['1', 'x', null] }]));
    expect(row).toMatchObject({ type: 'DELETE', old: null, data: [{ id: '1', a: 'x', b: null }] });
  });

  it('P9: leaves columns outside a key-only image out of a delete, because absent is not null', () => {
    const [row] = rowsOf(blockOf(NOTES, [{ delete: ['1', null, null], isKeyOnly: true }]));
    expect(row?.data).toEqual([{ id: '1' }]);
    expect(Object.keys(row?.sqlType ?? {})).toEqual(['id', 'a', 'b']);
  });

  it('P9: writes old: [{}] for an update without an old image', () => {
    const [row] = rowsOf(blockOf(NOTES, [{ update: ['1', 'x', 'y'] }]));
    expect(row).toMatchObject({ type: 'UPDATE', old: [{}], data: [{ id: '1', a: 'x', b: 'y' }] });
  });

  it.each([
    ['a full old image: all columns', { O: ['1', 'w', null] }, {}, [{ id: '1', a: 'w', b: null }]],
    ['a key-only old image: the key columns', { K: ['0', null, null] }, {}, [{ id: '0' }]],
    ['only the changed columns, if asked', { O: ['1', 'w', 'y'] }, { onlyOutputUpdatedColumns: true }, [{ a: 'w' }]],
    ['none, if nothing changed', { O: ['1', 'x', 'y'] }, { onlyOutputUpdatedColumns: true }, [{}]],
    ['a change to null', { O: ['1', 'x', null] }, { onlyOutputUpdatedColumns: true }, [{ b: null }]],
  ])('writes into old %s', (_, images, options, old) => {
    const block = blockOf(NOTES, [{ update: ['1', 'x', 'y'], ...images }]);
    expect(rowsOf(block, options)[0]?.old).toEqual(old);
  });

  it.each<[string, { O?: ColumnValue[]; K?: ColumnValue[] }, object]>([
    ['fills it from a full old image', { O: ['1', 'x', 'long'] }, { id: '2', a: 'x', b: 'long' }],
    ['leaves it out behind a key-only old image', { K: ['1', null, null] }, { id: '2', a: 'x' }],
    ['leaves it out without an old image', {}, { id: '2', a: 'x' }],
  ])('P9: an unchanged TOAST value: %s', (_, images, data) => {
    expect(rowsOf(blockOf(NOTES, [{ update: ['2', 'x', undefined], ...images }]))[0]?.data).toEqual([data]);
  });

  it('P9: leaves out a first column that was not sent without a stray comma', () => {
    const table = tableOf(['a text', '!id int8']);
    expect(rowsOf(blockOf(table, [{ update: [undefined, '1'] }]))[0]?.data).toEqual([{ id: '1' }]);
  });

  it('restricts a delete to its key columns, if asked', () => {
    const block = blockOf(NOTES, [{ delete: ['1', 'x', 'y'] }]);
    expect(rowsOf(block, { deleteOnlyOutputHandleKeyColumns: true })[0]).toMatchObject({
      data: [{ id: '1' }],
      sqlType: { id: -5 },
      mysqlType: { id: 'bigint' },
    });
    expect(Object.keys(rowsOf(block, { deleteOnlyOutputHandleKeyColumns: true })[0]?.sqlType ?? {})).toEqual(['id']);
  });

  const TYPED = tableOf([
    '!id int4',
    { name: 'name', type: 'varchar', typeModifier: 24 },
    { name: 'amount', type: 'numeric', typeModifier: ((12 << 16) | 2) + 4 },
    { name: 'any', type: 'numeric' },
    { name: 'at', type: 'timestamptz', typeModifier: 3 },
    { name: 'day', type: 'date' },
    { name: 'note', type: 'text' },
    { name: 'ratio', type: 'float8' },
    { name: 'ok', type: 'bool' },
    { name: 'file', type: 'bytea' },
  ]);
  const typedBlock = blockOf(TYPED, [{ insert: TYPED.columns.map(() => '1') }]);

  it('content-compatible: mysqlType has lengths, and old has what changed', () => {
    expect(rowsOf(typedBlock, { contentCompatible: true })[0]?.mysqlType).toEqual({
      id: 'int(11)',
      name: 'varchar(20)',
      amount: 'decimal(12,2)',
      any: 'decimal',
      at: 'timestamp(3)',
      day: 'date',
      note: 'longtext',
      ratio: 'double',
      ok: 'tinyint(1)',
      file: 'longblob',
    });
    const block = blockOf(NOTES, [{ O: ['1', 'w', 'y'], update: ['1', 'x', 'y'] }]);
    expect(rowsOf(block, { contentCompatible: true })[0]?.old).toEqual([{ a: 'w' }]);
  });

  it('(!) §6.2: mysqlType and sqlType have the table’s order of columns, which upstream’s hash map does not', () => {
    const [row] = rowsOf(typedBlock);
    const names = TYPED.columns.map(({ name }) => name);
    expect(Object.keys(row?.mysqlType ?? {})).toEqual(names);
    expect(Object.keys(row?.sqlType ?? {})).toEqual(names);
    expect(row?.mysqlType).toMatchObject({ id: 'int', name: 'varchar', amount: 'decimal', at: 'timestamp', ok: 'tinyint' });
  });

  it('has its keys in the order of the layout, whatever the change', () => {
    const block = blockOf(NOTES, [
      { insert: ['1', 'x', 'y'] },
      { update: ['1', 'x', 'z'], O: ['1', 'x', 'y'] },
      { delete: ['1', 'x', 'z'] },
    ]);
    for (const row of rowsOf(block)) {
      expect(Object.keys(row).join(' ')).toBe('id database table pkNames isDdl type es ts sql sqlType mysqlType old data _tidb');
    }
  });

  it.each([
    ['the whole row', { delete: ['1', 'x', null] }, {}, [{ id: '1', a: 'x', b: null }], ['id', 'a', 'b']],
    ['its key, which is all that the source sent', { delete: ['1', null, null], isKeyOnly: true }, {}, [{ id: '1' }], ['id', 'a', 'b']],
    ['its key, as asked', { delete: ['1', 'x', 'y'] }, { deleteOnlyOutputHandleKeyColumns: true }, [{ id: '1' }], ['id']],
    [
      'its key, as asked and as sent',
      { delete: ['1', null, null], isKeyOnly: true },
      { deleteOnlyOutputHandleKeyColumns: true },
      [{ id: '1' }],
      ['id'],
    ],
  ])('a delete carries %s', (_, change, options, data, types) => {
    const [row] = rowsOf(blockOf(NOTES, [change]), options);
    expect(row).toMatchObject({ type: 'DELETE', old: null, data });
    expect([Object.keys(row?.sqlType ?? {}), Object.keys(row?.mysqlType ?? {})]).toEqual([types, types]);
  });

  it('a delete without a key carries the whole row, also when only key columns are asked for', () => {
    const block = blockOf(tableOf(['a text', 'b text'], { replicaIdentity: 'full' }), [{ delete: ['x', 'y'] }]);
    expect(rowsOf(block, { deleteOnlyOutputHandleKeyColumns: true })[0]?.data).toEqual([{ a: 'x', b: 'y' }]);
  });

  it.each([
    ['null without a key', tableOf(['a text']), null],
    ['the columns of a composite key, in table order', tableOf(['!b int4', 'x text', '!a int4']), ['b', 'a']],
    [
      'the columns of the index that is the replica identity, which old images carry',
      tableOf(
        ['!id int4', { name: 'code', isIdentity: true }].map((c) => (c === '!id int4' ? { name: 'id', isPrimaryKey: true } : c)),
        {
          replicaIdentity: 'index',
        },
      ),
      ['code'],
    ],
  ])('pkNames: %s', (_, table, pkNames) => {
    const values = table.columns.map(() => '1');
    expect(rowsOf(blockOf(table, [{ insert: values }]))[0]?.pkNames).toEqual(pkNames);
  });

  it('takes es from each transaction and ts from the clock, also when their lengths differ', () => {
    const rows = [
      [5n, 0n],
      [6n, 1_700_000_000_000_999n],
      [7n, 1_700_000_000_001_000n],
      [8n, -1000n],
    ] as const;
    const builder = new RowBlockBuilder();
    const { bytes } = blockOf(NOTES, [{ insert: ['1', 'x', 'y'] }]);
    for (const [commitTs, commitTimeUs] of rows) {
      builder.beginTransaction(commitTs, commitTimeUs);
      builder.append(0x49, 0, 0);
    }
    const texts = encode(builder.build(NOTES, bytes)).split('\n');
    expect(texts.slice(0, 4).map((text) => /"es":(-?\d+),"ts":(\d+)/.exec(text)?.slice(1))).toEqual(
      ['0', '1700000000000', '1700000000001', '-1'].map((es) => [es, String(NOW)]),
    );
    expect(texts.slice(0, 4).map((text) => /"commitTs":(\d+)/.exec(text)?.[1])).toEqual(['5', '6', '7', '8']);
  });

  it.each([
    ['the short escapes', '\t\r\n"\\', '\\t\\r\\n\\"\\\\'],
    ['other controls and HTML characters', '\u0000\b\f\u001f<>&', '\\u0000\\u0008\\u000c\\u001f\\u003c\\u003e\\u0026'],
    ['line separators', 'a\u2028\u2029b', 'a\\u2028\\u2029b'],
    ['neighbours of the separators as they are', '\u2027\u202a\u007f', '\u2027\u202a\u007f'],
    ['two to four bytes of UTF-8 as they are', 'é你😀', 'é你😀'],
  ])('escapes %s', (_, text, escaped) => {
    for (const padding of ['', 'x', 'xy', 'xyz']) {
      expect(encode(blockOf(tableOf(['c text']), [{ insert: [padding + text + padding] }]))).toContain(
        `"c":"${padding}${escaped}${padding}"`,
      );
    }
  });

  it.each([
    ['a lone continuation byte', [0x61, 0x80, 0x62], 'a\\ufffdb'],
    ['an over-long form', [0xc0, 0xaf], '\\ufffd\\ufffd'],
    ['a surrogate', [0xed, 0xa0, 0x80], '\\ufffd\\ufffd\\ufffd'],
    ['beyond U+10FFFF', [0xf4, 0x90, 0x80, 0x80], '\\ufffd\\ufffd\\ufffd\\ufffd'],
    ['a cut sequence', [0x61, 0xe2, 0x80], 'a\\ufffd\\ufffd'],
  ])('writes \\ufffd for each byte that is no UTF-8: %s', (_, bytes, escaped) => {
    const table = tableOf(['c text']);
    const block = blockOf(table, [{ insert: ['x'.repeat(bytes.length)] }]);
    block.bytes.set(bytes, block.bytes.length - bytes.length);
    expect(encode(block)).toContain(`"c":"${escaped}"`);
  });

  it('escapes names of schema, table and columns', () => {
    const table = tableOf([{ name: 'a"b\\', isPrimaryKey: true }], { schema: 'sché<ma>', name: 'ta/"ble' });
    expect(encode(blockOf(table, [{ insert: ['1'] }]))).toMatch(
      /"database":"sché\\u003cma\\u003e","table":"ta\/\\"ble","pkNames":\["a\\"b\\\\"\].*"data":\[\{"a\\"b\\\\":"1"\}\]/,
    );
  });

  it.each([
    ['text', 'é<"😀'.repeat(3000), 'é<"😀'.repeat(3000)],
    ['bytea', `\\x${'00ff22'.repeat(3000)}`, '\u0000ÿ"'.repeat(3000)],
  ])('writes a %s longer than a slice whole', (type, source, value) => {
    expect(rowsOf(blockOf(tableOf([`c ${type}`]), [{ insert: [source] }]))[0]?.data).toEqual([{ c: value }]);
  });

  it('writes what a stage put into a bool, a float or a bytea as it is, when it is none', () => {
    const table = tableOf(['a bool', 'b float8', 'c bytea']);
    expect(rowsOf(blockOf(table, [{ insert: ['true', '1,5', 'hello'] }]))[0]?.data).toEqual([{ a: 'true', b: '1,5', c: 'hello' }]);
  });

  it('writes a row of a table without columns, which PostgreSQL allows', () => {
    expect(rowsOf(blockOf(tableOf([]), [{ insert: [] }]))[0]?.data).toEqual([{}]);
  });

  it('writes the times of each row, because a block may come at another time than the one before, with more digits or fewer', () => {
    const out = new ByteWriter();
    let now = 0;
    const encoder = canalJson({ now: () => now, terminator: '\n' });
    const times = [0, 999_999_999_999, 1_668_668_168_117, 1_668_668_168_118, 9_999_999_999_999, 10_413_792_000_000, 1_668_668_168_117];
    const pairs = times.flatMap((es) => times.map((ts) => ({ es, ts })));
    pairs.push(...pairs.map(({ es, ts }) => ({ es: ts, ts: es })));
    for (const { es, ts } of pairs) {
      now = ts;
      encoder.encode(blockOf(NOTES, [{ insert: ['1', 'x', 'y'] }, { update: ['1', 'x', 'z'] }], 7n, BigInt(es) * 1000n), out);
    }
    const lines = out.take().toString().split('\n').slice(0, -1);
    const rows = lines.map((line) => JSON.parse(line) as { es: number; ts: number });
    expect(rows.map(({ es, ts }) => ({ es, ts }))).toEqual(pairs.flatMap((pair) => [pair, pair]));
  });

  it('reads rows that a stage rewrote from the patches', () => {
    const block = blockOf(NOTES, [{ insert: ['1', 'x', 'y'] }, { insert: ['2', 'x', 'y'] }]);
    const patches = blockOf(NOTES, [{ insert: ['1', 'patched', 'y'] }]).bytes;
    const patched = block.withPatches(patches, Int32Array.of(~0, block.offsets[1]!));
    expect(rowsOf(patched).map(({ data }) => data[0])).toEqual([
      { id: '1', a: 'patched', b: 'y' },
      { id: '2', a: 'x', b: 'y' },
    ]);
  });
});
