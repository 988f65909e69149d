import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  ByteWriter,
  type ColumnValue,
  IMAGE_KEY,
  IMAGE_NEW,
  IMAGE_OLD,
  OP_DELETE,
  OP_INSERT,
  OP_UPDATE,
  RowBlock,
  RowBlockBuilder,
  type Table,
  VALUE_TEXT,
  writeTuple,
} from '../../../lib/events/index.ts';
import { type CanalJsonOptions, canalJson } from '../../../lib/formats/canal-json.ts';
import { crc32Of } from '../../../lib/formats/checksum.ts';
import { tableOf } from '../../support/blocks.ts';

const NOW = 1_668_668_168_200;

interface Encoded {
  readonly bytes: Buffer;
  readonly checksum: number | null;
}

function encode(block: RowBlock, options: Partial<CanalJsonOptions> = {}): Encoded {
  const out = new ByteWriter(16);
  const checksum = canalJson({ now: () => NOW, ...options }).encode(block, out);
  return { bytes: out.take(), checksum };
}

/** A row alone is never written by WebAssembly. */
function encodedOneByOne(block: RowBlock, options: Partial<CanalJsonOptions> = {}): Buffer {
  const encoder = canalJson({ now: () => NOW, ...options });
  const out = new ByteWriter();
  for (let row = 0; row < block.rowCount; row++) encoder.encode(block.slice(row, row + 1), out);
  return out.take();
}

/** Text, or the bytes of a value whatever they are; null, or undefined for one that was not sent. */
type Value = ColumnValue | Uint8Array;
type Image = readonly Value[];

interface Change {
  readonly op: 'insert' | 'update' | 'delete';
  readonly row: Image;
  readonly old?: Image;
}

interface Transaction {
  readonly commitTs: bigint;
  readonly commitTimeUs: bigint;
  readonly changes: readonly Change[];
}

function writeImage(writer: ByteWriter, marker: number, image: Image): void {
  writer.writeByte(marker);
  writeTuple(writer, new Array<null>(image.length).fill(null));
  writer.length -= image.length;
  for (const value of image) {
    if (!(value instanceof Uint8Array)) {
      const tuple = new ByteWriter();
      writeTuple(tuple, [value]);
      writer.writeBytes(tuple.take().subarray(2));
      continue;
    }
    const length = Buffer.alloc(5, VALUE_TEXT);
    length.writeUInt32BE(value.length, 1);
    writer.writeBytes(length);
    writer.writeBytes(value);
  }
}

/** As a source reads them: with bytes of other things between the rows. */
function blockOf(table: Table, transactions: readonly Transaction[]): RowBlock {
  const writer = new ByteWriter();
  const builder = new RowBlockBuilder();
  for (const { commitTs, commitTimeUs, changes } of transactions) {
    builder.beginTransaction(commitTs, commitTimeUs);
    for (const [ordinal, { op, row, old }] of changes.entries()) {
      writer.writeText('between');
      const offset = writer.length;
      if (op === 'delete') writeImage(writer, IMAGE_OLD, row);
      else {
        if (old !== undefined) writeImage(writer, op === 'update' ? IMAGE_OLD : IMAGE_KEY, old);
        writeImage(writer, IMAGE_NEW, row);
      }
      builder.append({ insert: OP_INSERT, update: OP_UPDATE, delete: OP_DELETE }[op], offset, ordinal);
    }
  }
  return builder.build(table, writer.take());
}

const one = (changes: readonly Change[]): Transaction[] => [{ commitTs: 7n, commitTimeUs: 1_668_668_168_117_000n, changes }];
const inserts = (rows: readonly Image[]): Change[] => rows.map((row) => ({ op: 'insert', row }));

const TABLE = tableOf(['!id int8', 'flag bool', 'note text', 'other varchar']);
const SPECIAL = [...' !"#$%&\'<=>[\\]^_~\u007f\0\t\n\r\u001f\u0080\u00ff\u07ff\u0800\u2028\u2029\u202a\ud7ff\ue000\uffff😀𐍈'];
const BAD = [
  'c0 80',
  'c1 bf',
  'e0 80 80',
  'ed a0 80',
  'f0 80 80 80',
  'f4 90 80 80',
  'f5 80 80 80',
  'ff',
  '80',
  'e2 80',
  'f0 9f 98',
  'e2 28 a1',
];

const MODULE = '../../../lib/formats/canal-rows.ts';

function refusing(reason: string): object {
  return class {
    constructor() {
      throw new Error(reason);
    }
  };
}

/** The rules are `canal-json.spec.ts`'s; here: whoever writes the rows, the bytes are the same. */
describe('rows at once', () => {
  it('are those that the block is for: all of its rows are, and the checksum comes with them', () => {
    const { bytes, checksum } = encode(
      blockOf(
        TABLE,
        one(
          inserts([
            ['1', 't', 'a', null],
            ['2', 'f', 'b', 'c'],
            ['3', null, '', 'd'],
            ['4', 't', 'e', 'f'],
            ['5', 'f', '', ''],
            ['6', 't', 'g', null],
            ['7', null, null, null],
            ['8', 't', 'h', 'i'],
          ]),
        ),
      ),
    );
    expect(checksum).toBe(crc32Of(bytes));
  });

  it.each<[string, Image[]]>([
    ['every character that is special somewhere', SPECIAL.map((char) => ['1', 't', char, `${char}${char}`])],
    [
      'a special character at each place of sixteen',
      SPECIAL.flatMap((char) => Array.from({ length: 17 }, (_, at) => ['1', 't', `${'x'.repeat(at)}${char}${'y'.repeat(16 - at)}`, null])),
    ],
    [
      'bytes that are no UTF-8, at the end and before others',
      BAD.flatMap((hex) => {
        const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
        return [
          ['1', 't', bytes, 'x'],
          ['1', 't', Buffer.concat([bytes, Buffer.from('"x')]), bytes],
        ];
      }),
    ],
    [
      'values of every length up to some words',
      Array.from({ length: 70 }, (_, length) => ['1', 'f', 'v'.repeat(length), '"'.repeat(length)]),
    ],
    [
      'values that were not sent',
      [
        ['1', undefined, 'a', undefined],
        [undefined, undefined, undefined, undefined],
        [undefined, 't', null, 'b'],
        ['1', 't', undefined, null],
      ],
    ],
    ['booleans, and what is none', ['t', 'f', 'true', '', 'x', null].map((flag) => ['1', flag, 'a', 'b'])],
    [
      'a character that too many bytes follow, where a large value is cut',
      Array.from({ length: 8 }, (_, at) => ['1', 't', Buffer.from(`${'78'.repeat(4088 + at)}e280a880808079`, 'hex'), 'x']),
    ],
    [
      'large values between small ones',
      [10, 4096, 4097, 20, 16_384, 30, 60_000, 70_000, 5, 200_000, 1, 2, 3].map((length) => ['1', 't', 'a"b<'.repeat(length / 4), 'c']),
    ],
  ])('are as each alone: %s', (_, rows) => {
    const transactions = one([...inserts(rows), ...rows.map((row) => ({ op: 'update' as const, row }))]);
    const block = blockOf(TABLE, transactions);
    const { bytes } = encode(block);
    expect(bytes.equals(encodedOneByOne(block))).toBe(true);
  });

  it('are as each alone, whatever a block is made of', () => {
    const text = fc.oneof(
      fc.string({ unit: fc.constantFrom(...SPECIAL, 'a', 'b') }),
      fc.uint8Array({ maxLength: 40 }),
      fc.constantFrom(null, undefined, 't'),
    );
    const image = fc.tuple(fc.constantFrom('1', '22'), fc.constantFrom('t', 'f', null), text, text);
    const change = fc.record({
      op: fc.constantFrom('insert', 'insert', 'update', 'update', 'delete'),
      row: image,
      old: fc.option(image, { nil: undefined, freq: 8 }),
    });
    const transaction = fc.record({
      commitTs: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
      commitTimeUs: fc.oneof(
        { weight: 8, arbitrary: fc.bigInt({ min: 10n ** 15n, max: 2n * 10n ** 15n }) },
        fc.constantFrom(0n, 999_999_999_999_999n, 10n ** 16n),
      ),
      changes: fc.array(change, { minLength: 1, maxLength: 30 }),
    });
    const options = fc.record({
      enableTidbExtension: fc.boolean(),
      terminator: fc.constantFrom('\r\n', '\n', '', '<end of the row, at length, and beyond what fits>'),
      contentCompatible: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(transaction, { minLength: 1, maxLength: 8 }), options, (transactions, chosen) => {
        const changes = transactions.map(({ changes, ...times }) => ({
          ...times,
          // Only an update has two images.
          changes: changes.map(({ op, row, old }) => (op === 'update' && old !== undefined ? { op, row, old } : { op, row })) as Change[],
        }));
        const block = blockOf(TABLE, changes);
        const { bytes, checksum } = encode(block, chosen);
        expect(bytes.toString('latin1')).toBe(encodedOneByOne(block, chosen).toString('latin1'));
        if (checksum !== null) expect(checksum).toBe(crc32Of(bytes));
      }),
      { numRuns: 300 },
    );
  });

  it.each<[string, Table, number]>([
    ['hundreds of columns', tableOf(Array.from({ length: 400 }, (_, i) => `c${i} text`)), 400],
    ['more columns than have room', tableOf(Array.from({ length: 1600 }, (_, i) => `c${i} text`)), 1600],
    ['names that fill a row', tableOf(Array.from({ length: 60 }, (_, i) => `${'n'.repeat(60)}${i} text`)), 60],
    ['a float among them', tableOf(['!id int8', 'f float8']), 2],
  ])('are as each alone for a table with %s', (_, table, columns) => {
    const block = blockOf(table, one(inserts(Array.from({ length: 100 }, (_, row) => Array.from({ length: columns }, () => `${row}e10`)))));
    expect(encode(block).bytes.equals(encodedOneByOne(block))).toBe(true);
  });

  it('go on where another table, and a later time, was in between', () => {
    const other = tableOf(['a text', 'b text'], { name: 'a longer name' });
    let now = NOW;
    const encoder = canalJson({ now: () => now });
    const blocks = [0, 1, 2, 3, 4].map((number) => {
      const rows = inserts(Array.from({ length: 10 }, (_, row) => [`${row}`, `${number}`, ...(number % 2 === 0 ? ['c', 'd'] : [])]));
      return blockOf(number % 2 === 0 ? TABLE : other, one(rows));
    });
    for (const block of blocks) {
      const out = new ByteWriter();
      now++;
      encoder.encode(block, out);
      expect(out.take().equals(encodedOneByOne(block, { now: () => now }))).toBe(true);
    }
  });

  it('have the whole milliseconds of a clock that counts their fractions', () => {
    const block = blockOf(
      TABLE,
      [0n, 1_668_668_168_117_000n].map((commitTimeUs) => ({ ...one(inserts(Array(10).fill(['1', 't', 'a', 'b'])))[0]!, commitTimeUs })),
    );
    const encoder = canalJson({ now: () => NOW + 0.75 });
    for (let again = 0; again < 2; again++) {
      const out = new ByteWriter();
      const checksum = encoder.encode(block.slice(10, 20), out);
      const { bytes } = encode(block.slice(10, 20));
      expect([out.take().toString(), checksum]).toEqual([bytes.toString(), crc32Of(bytes)]);
      encoder.encode(block, out);
      expect(out.take().equals(encodedOneByOne(block))).toBe(true);
    }
  });

  it.each<[string, object | undefined]>([
    ['is switched off', undefined],
    ['has no vectors', { Module: refusing('Wasm SIMD unsupported') }],
    ['gets no memory', { Module: class {}, Instance: refusing('Cannot allocate Wasm memory for new instance') }],
  ])('are for JavaScript where WebAssembly %s', async (what, webAssembly) => {
    const real = Object.getOwnPropertyDescriptor(globalThis, 'WebAssembly')!;
    Object.defineProperty(globalThis, 'WebAssembly', { ...real, value: webAssembly });
    try {
      // A module of its own: the others have theirs already.
      const { CanalRows } = (await import(`${MODULE}?${encodeURIComponent(what)}`)) as typeof import('../../../lib/formats/canal-rows.ts');
      expect(CanalRows.get()).toBeNull();
    } finally {
      Object.defineProperty(globalThis, 'WebAssembly', real);
    }
  });

  it('leave out rows that a stage rewrote, and rows in another order than their bytes', () => {
    const block = blockOf(TABLE, one(inserts(Array.from({ length: 20 }, (_, row) => [`${row}`, 't', 'a', 'b']))));
    const { bytes, ops, ordinals, transactions, table } = block;
    const offsets = block.offsets.slice();
    for (const row of [3, 11]) offsets[row] = ~offsets[row]!;
    offsets.subarray(5, 9).reverse();
    const mixed = new RowBlock({ table, bytes, patches: bytes, ops, offsets, ordinals, transactions });
    const encoded = encode(mixed);
    expect(encoded.bytes.equals(encodedOneByOne(mixed))).toBe(true);
    expect(encoded.checksum).toBeNull();
  });
});
