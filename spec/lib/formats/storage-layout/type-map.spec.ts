import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { keyColumns, storageType } from '../../../../lib/formats/storage-layout/index.ts';
import { tableOf } from '../../../support/blocks.ts';

const TYPES = JSON.parse(readFileSync(new URL('../../../fixtures/types.json', import.meta.url), 'utf8')) as {
  readonly type: string;
  readonly typeModifier?: number;
  readonly columnType: string;
  readonly precision?: number;
  readonly scale?: number;
  readonly sqlType: number;
  readonly plain?: boolean;
}[];

/** architecture §5: PostgreSQL types in schema files */
describe('storageType', () => {
  it.each(TYPES)('maps $type ($typeModifier) to $columnType($precision, $scale)', ({ type, typeModifier = -1, ...expected }) => {
    expect(storageType({ type, typeModifier })).toMatchObject({
      columnType: expected.columnType,
      precision: expected.precision ?? null,
      scale: expected.scale ?? null,
      sqlType: expected.sqlType,
      mysqlType: expected.columnType.toLowerCase(),
      isPlain: expected.plain ?? false,
    });
  });

  it('names in docs/type-map.md every type that it maps by name', () => {
    const document = readFileSync(new URL('../../../../docs/type-map.md', import.meta.url), 'utf8');
    for (const { columnType } of TYPES) expect(document).toContain(columnType);
  });
});

describe('keyColumns', () => {
  const columns = [{ name: 'id', isPrimaryKey: true, isIdentity: true }, { name: 'code' }];
  const byIndex = [
    { name: 'id', isPrimaryKey: true },
    { name: 'code', isIdentity: true },
  ];
  it.each([
    ['the primary key', tableOf(columns), ['id']],
    [
      'the primary key with replica identity full',
      tableOf(
        columns.map((c) => ({ ...c, isIdentity: true })),
        { replicaIdentity: 'full' },
      ),
      ['id'],
    ],
    ['the index that old images carry, even beside a primary key', tableOf(byIndex, { replicaIdentity: 'index' }), ['code']],
    ['nothing without a key', tableOf([{ name: 'a', isIdentity: true }], { replicaIdentity: 'full' }), []],
  ])('gives %s', (_, table, names) => {
    expect(keyColumns(table).map(({ name }) => name)).toEqual(names);
  });
});
