import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ByteWriter, type ColumnValue, type RowBlock, type Table } from '../../../lib/events/index.ts';
import { canalJson } from '../../../lib/formats/canal-json.ts';
import { canalJsonReader } from '../../../lib/formats/canal-json-reader.ts';
import { csv } from '../../../lib/formats/csv.ts';
import type { CsvOptions } from '../../../lib/formats/csv-options.ts';
import { csvReader } from '../../../lib/formats/csv-reader.ts';
import type { DecodedRow, RowDecoder, RowEncoder } from '../../../lib/formats/encoder.ts';
import { blockOf, type ChangeSketch, chunksOf, gather, tableOf } from '../../support/blocks.ts';

interface Format {
  readonly encoder: RowEncoder;
  readonly decoder: RowDecoder;
  /** A file holds what an image before an update was. */
  readonly keepsOld: boolean;
  /** A file tells a column that was not sent from one that is null. */
  readonly keepsAbsence: boolean;
}

const canal: Format = { encoder: canalJson({ now: () => 0 }), decoder: canalJsonReader(), keepsOld: true, keepsAbsence: true };
const csvWith = (options: CsvOptions): Format => ({
  encoder: csv(options),
  decoder: csvReader(options),
  keepsOld: options.outputOldValue === true,
  keepsAbsence: false,
});

const FORMATS: [string, Format][] = [
  ['canal-json', canal],
  ['csv', csvWith({})],
  ['csv with old values and a header', csvWith({ outputOldValue: true, outputFieldHeader: true })],
  ['csv without quotes', csvWith({ quote: '', terminator: '\n' })],
  ['csv without quotes, delimiter **', csvWith({ quote: '', delimiter: '**', binaryEncodingMethod: 'hex' })],
  ['csv with quotes and delimiter [*]', csvWith({ quote: "'", delimiter: '[*]', outputOldValue: true })],
];

const TYPES = JSON.parse(readFileSync(new URL('../../fixtures/types.json', import.meta.url), 'utf8')) as {
  readonly type: string;
  readonly typeModifier?: number;
  readonly values: readonly (readonly [source: string, canalJson: string, csv: string])[];
}[];

async function throughFormat({ encoder, decoder }: Format, block: RowBlock, chunkBytes: number): Promise<DecodedRow[]> {
  const out = new ByteWriter(16);
  out.writeBytes(encoder.header(block.table) ?? Buffer.alloc(0));
  encoder.encode(block, out);
  const names = block.table.columns.map(({ name }) => name);
  return gather(decoder.decode(names, chunksOf(out.take(), chunkBytes)));
}

function imageOf(
  table: Table,
  values: readonly ColumnValue[],
  { decoder, keepsAbsence }: Format,
  fill?: readonly ColumnValue[],
  keyOnly = false,
) {
  const image = Object.create(null) as Record<string, string | null>;
  table.columns.forEach(({ name, type, isIdentity }, index) => {
    const isAbsent = keyOnly && !isIdentity;
    const value = isAbsent ? undefined : values[index] === undefined ? fill?.[index] : values[index];
    if (value === undefined && keepsAbsence) return;
    image[name] = value === undefined || value === null ? null : decoder.fromSourceText(type, value);
  });
  return image;
}

function expected(table: Table, change: ChangeSketch, format: Format): Omit<DecodedRow, 'commitTs'> {
  if ('insert' in change) return { op: 'I', old: null, data: imageOf(table, change.insert, format) };
  if ('delete' in change) return { op: 'D', old: imageOf(table, change.delete, format, undefined, change.isKeyOnly), data: null };
  const old = change.O ?? change.K;
  const without = format.keepsAbsence ? {} : null;
  return {
    op: 'U',
    old: old === undefined || !format.keepsOld ? without : imageOf(table, old, format, undefined, change.O === undefined),
    data: imageOf(table, change.update, format, change.O),
  };
}

/** Names and values that formats must escape. */
const special = fc.constantFrom(
  ',',
  '**',
  '*',
  '[*]',
  '"',
  "'",
  '\\',
  '\\N',
  '\r',
  '\n',
  '\t',
  '\0',
  '<&>',
  '\u2028',
  '{',
  '}',
  'é',
  '你',
  '😀',
);
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.array(fc.oneof(special, fc.string({ maxLength: 3 })), { maxLength: 8 }).map((parts) => parts.join('')),
);
const bytea = fc.uint8Array({ maxLength: 12 }).map((bytes) => `\\x${Buffer.from(bytes).toString('hex')}`);
const float = fc.oneof(fc.double().map(String), fc.constantFrom('NaN', '-Infinity', '1e+06'));
const row = fc.tuple(
  fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }).map(String),
  fc.option(text),
  fc.option(float),
  fc.option(fc.constantFrom('t', 'f')),
  fc.option(bytea),
);
const change: fc.Arbitrary<ChangeSketch> = fc.oneof(
  row.map((insert) => ({ insert })),
  row.map((values) => ({ delete: values })),
  row.map((values) => ({ delete: values, isKeyOnly: true })),
  row.map((update) => ({ update })),
  fc.tuple(row, row).map(([update, O]) => ({ update, O })),
  fc.tuple(row, row).map(([[id, , ...rest], O]) => ({ update: [id, undefined, ...rest], O })),
  fc.tuple(row, row).map(([update, K]) => ({ update, K })),
);
const tableNamed = fc
  .tuple(text, text)
  .map(([schema, name]) =>
    tableOf(
      [{ name: 'id', type: 'int8', isPrimaryKey: true, isIdentity: true }, { name: `t ${name}` }, 'f float8', 'b bool', '__proto__ bytea'],
      { schema, name },
    ),
  );

describe.each(FORMATS)('%s', (_, format) => {
  it('reads back what was written: any values, names, changes and chunks', async () => {
    await fc.assert(
      fc.asyncProperty(
        tableNamed,
        fc.array(change, { minLength: 1, maxLength: 6 }),
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        fc.integer({ min: 1, max: 50 }),
        async (table, changes, commitTs, chunkBytes) => {
          const rows = await throughFormat(format, blockOf(table, changes, commitTs), chunkBytes);
          expect(rows).toEqual(changes.map((sketch) => ({ commitTs, ...expected(table, sketch, format) })));
        },
      ),
      { numRuns: 150 },
    );
  });

  it.each(TYPES.flatMap(({ type, typeModifier = -1, values }) => values.map(([source]) => [type, source, typeModifier] as const)))(
    'a reader sees of %s %j what fromSourceText says, so that verify can compare',
    async (type, source, typeModifier) => {
      const table = tableOf([{ name: 'c', type, typeModifier }]);
      const [decoded] = await throughFormat(format, blockOf(table, [{ insert: [source] }]), 1000);
      expect(decoded?.data).toEqual({ c: format.decoder.fromSourceText(type, source) });
    },
  );
});

it.each(TYPES.flatMap(({ type, values }) => values.map((texts) => [type, ...texts] as const)))(
  '%s %j reads as %j in canal-json and as %j in csv',
  (type, source, asCanal, asCsv) => {
    expect(canal.decoder.fromSourceText(type, source)).toBe(asCanal);
    expect(csvReader().fromSourceText(type, source)).toBe(asCsv);
  },
);
