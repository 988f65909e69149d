import { describe, expect, it } from '@jest/globals';
import { dispatcherOfTable } from '../../../../lib/events/index.ts';
import type { RelationMessage } from '../../../../lib/formats/pgoutput/index.ts';
import type { CatalogColumn, CatalogTable } from '../../../../lib/sources/postgres/catalog.ts';
import { knownMissing } from '../../../../lib/sources/postgres/rewrite-watch.ts';
import {
  describeChange,
  matchesRelation,
  nextVersion,
  pruneHistory,
  type TableVersion,
  tableOf,
  versionFromCatalog,
  versionFromRelation,
} from '../../../../lib/sources/postgres/schema-history.ts';
import { copySql } from '../../../../lib/sources/postgres/snapshot-reader.ts';
import { needsSnapshot, newTableState, stateFromJson, stateToJson } from '../../../../lib/sources/postgres/state.ts';

const INT = 23;
const TEXT = 25;

function column(attnum: number, name: string, change: Partial<CatalogColumn> = {}): CatalogColumn {
  return {
    attnum,
    name,
    isDropped: false,
    typeOid: TEXT,
    typeModifier: -1,
    baseType: 'text',
    baseTypeModifier: -1,
    sqlType: 'text',
    isNullable: true,
    generated: '',
    isIdentityColumn: false,
    hasDefault: false,
    hasMissing: false,
    missing: null,
    labels: null,
    xmin: '100',
    defaultXmin: null,
    settings: '',
    ...change,
  };
}

function catalog(columns: CatalogColumn[], change: Partial<CatalogTable> = {}): CatalogTable {
  return {
    oid: 1,
    schema: 'public',
    name: 't',
    kind: 'r',
    isPartition: false,
    replicaIdentity: 'd',
    snapshotFileNode: 1,
    fileNode: 1,
    toastOid: 0,
    columns,
    primaryKey: [1],
    identityKey: [1],
    partitions: [],
    rowsEstimated: 10,
    analyzedAt: 0,
    readAt: 1000,
    ...change,
  };
}

const ID = column(1, 'id', { typeOid: INT, baseType: 'int4', sqlType: 'integer', isNullable: false });
const NOTE = column(2, 'note');
const dropped = (attnum: number) => column(attnum, `........pg.dropped.${attnum}........`, { isDropped: true, typeOid: 0 });

function relation(...columns: [name: string, typeOid: number, isKey?: boolean][]): RelationMessage {
  const described = columns.map(([name, typeOid, isKey = false]) => ({ name, typeOid, isKey, typeModifier: -1 }));
  return { type: 'relation', relationId: 1, namespace: 'public', name: 't', replicaIdentity: 'd', columns: described };
}

const FIRST = versionFromCatalog(catalog([ID, NOTE]), ['id', 'note'], 10n);
const NAMES = { schema: 'public', name: 't' };
const attnums = (version: TableVersion) => version.columns.map(({ attnum, name }) => `${attnum} ${name}`);

describe('P7: versions of a table', () => {
  it('recognises its own relation message, and no other', () => {
    expect(matchesRelation(FIRST, relation(['id', INT, true], ['note', TEXT]))).toBe(true);
    expect(matchesRelation(FIRST, relation(['id', INT, true]))).toBe(false);
    expect(matchesRelation(FIRST, relation(['id', INT, true], ['Note', TEXT]))).toBe(false);
    expect(matchesRelation(FIRST, relation(['id', INT, true], ['note', INT]))).toBe(false);
    expect(matchesRelation(FIRST, relation(['id', INT], ['note', TEXT]))).toBe(false);
    expect(matchesRelation(FIRST, { ...relation(['id', INT, true], ['note', TEXT]), replicaIdentity: 'f' })).toBe(false);
  });

  it.each([
    [
      'the catalog, when it shows the same',
      catalog([ID, NOTE, column(3, 'a')]),
      relation(['id', INT, true], ['note', TEXT], ['a', TEXT]),
      ['1 id', '2 note', '3 a'],
    ],
    [
      'the version before, when the catalog has lost the column meanwhile',
      catalog([ID, dropped(2), column(3, 'a')]),
      relation(['id', INT, true], ['note', TEXT], ['a', TEXT]),
      ['1 id', '2 note', '3 a'],
    ],
    [
      'a dropped column between its neighbours, when nobody knows it',
      catalog([ID, NOTE, dropped(3), dropped(4), column(5, 'b')]),
      relation(['id', INT, true], ['note', TEXT], ['came', TEXT], ['went', INT], ['b', TEXT]),
      ['1 id', '2 note', '3 came', '4 went', '5 b'],
    ],
    ['the order, when the table itself is gone', null, relation(['id', INT, true], ['note', TEXT], ['a', INT]), ['1 id', '2 note', '3 a']],
  ])('takes attnums from %s', (_title, present, message, expected) => {
    const version = versionFromRelation(message, 20n, FIRST, present, {}, NAMES);
    expect(attnums(version)).toEqual(expected);
    expect(matchesRelation(version, message)).toBe(true);
  });

  it('P6: fills a new column with what it read as when it was seen, and keeps that of older ones', () => {
    const added = catalog([ID, NOTE, column(3, 'a', { hasMissing: true, missing: 'x' })]);
    const message = relation(['id', INT, true], ['note', TEXT], ['a', TEXT]);
    const missing = knownMissing(knownMissing({}, catalog([ID, NOTE])), added);
    const second = versionFromRelation(message, 20n, FIRST, added, missing, NAMES);
    expect(second.columns.map((c) => c.missing)).toEqual([null, null, 'x']);
    const rewritten = catalog([ID, NOTE, column(3, 'a')]);
    const third = versionFromRelation(
      relation(['id', INT, true], ['a', TEXT]),
      30n,
      second,
      rewritten,
      knownMissing(missing, rewritten),
      NAMES,
    );
    expect(third.columns.map((c) => c.missing)).toEqual([null, 'x']);
  });

  it.each([
    [
      'an added column',
      [ID, NOTE, column(3, 'a', { isNullable: false, missing: "it's" })],
      5,
      `ADD COLUMN "a" text DEFAULT 'it''s' NOT NULL`,
    ],
    ['a dropped column', [ID, dropped(2)], 6, 'DROP COLUMN "note"'],
    ['a type', [ID, { ...NOTE, typeOid: INT, sqlType: 'integer' }], 12, 'ALTER COLUMN "note" TYPE integer'],
    ['a name', [ID, { ...NOTE, name: 'remark' }], 12, 'RENAME COLUMN "note" TO "remark"'],
    ['several', [ID, dropped(2), column(3, 'b')], 12, 'DROP COLUMN "note", ADD COLUMN "b" text'],
  ])('describes %s as a statement', (_title, columns, action, clauses) => {
    const names = columns.filter(({ isDropped }) => !isDropped).map(({ name }) => name);
    const next = versionFromCatalog(catalog(columns), names, 20n);
    const known = new Map(columns.map(({ attnum, missing }) => [attnum, missing]));
    const filled = { ...next, columns: next.columns.map((c) => ({ ...c, missing: known.get(c.attnum) ?? null })) };
    expect(describeChange(FIRST, filled)).toEqual({ query: `ALTER TABLE "public"."t" ${clauses}`, action });
  });

  it('numbers the versions of one transaction, and stops before they meet the next', () => {
    expect(nextVersion(100n, null)).toBe(100n);
    expect(nextVersion(100n, 50n)).toBe(100n);
    expect(nextVersion(100n, 100n)).toBe(101n);
    expect(nextVersion(100n, 130n)).toBe(131n);
    expect(() => nextVersion(100n, 131n)).toThrow(/^MR_COUNTER_OVERFLOW/);
  });

  it('keeps the version in force at the checkpoint and all behind it', () => {
    const history = [10n, 20n, 30n].map((version) => ({ ...FIRST, version }));
    const kept = (ts: bigint) => pruneHistory(history, ts).map(({ version }) => version);
    expect(kept(5n)).toEqual([10n, 20n, 30n]);
    expect(kept(20n)).toEqual([20n, 30n]);
    expect(kept(29n)).toEqual([20n, 30n]);
    expect(kept(99n)).toEqual([30n]);
  });

  it('gives events a table with the key, the identity and stable column numbers', () => {
    const table = tableOf(dispatcherOfTable('p', 1), 1, versionFromCatalog(catalog([ID, dropped(2), column(3, 'a')]), ['id', 'a'], 7n));
    expect(table).toMatchObject({ tableId: 1, version: 7n, replicaIdentity: 'default', schema: 'public', sourceName: 't' });
    expect(
      table.columns.map(({ columnId, wireIndex, isPrimaryKey, isIdentity }) => [columnId, wireIndex, isPrimaryKey, isIdentity]),
    ).toEqual([
      [1, 0, true, true],
      [3, 1, false, false],
    ]);
  });
});

describe('COPY reads what the stream would send', () => {
  const published = (columns: string[], rowFilter: string | null = null) => ({ columns, rowFilter });

  it.each([
    ['a plain table', catalog([ID, NOTE]), published(['id', 'note']), 'COPY "public"."t" ("id", "note") TO STDOUT'],
    ['a column list', catalog([ID, NOTE]), published(['id']), 'COPY "public"."t" ("id") TO STDOUT'],
    ['a row filter', catalog([ID]), published(['id'], '(id > 5)'), 'COPY (SELECT "id" FROM ONLY "public"."t" WHERE (id > 5)) TO STDOUT'],
    ['a partitioned table', catalog([ID], { kind: 'p' }), published(['id']), 'COPY (SELECT "id" FROM "public"."t") TO STDOUT'],
    [
      'a published generated column',
      catalog([ID, column(2, 'g', { generated: 's' })]),
      published(['id', 'g']),
      'COPY (SELECT "id", "g" FROM ONLY "public"."t") TO STDOUT',
    ],
    ['names that need quotes', catalog([column(1, 'a"b')], { schema: 'S s' }), published(['a"b']), 'COPY "S s"."t" ("a""b") TO STDOUT'],
  ])('%s', (_title, table, entry, sql) => {
    expect(copySql(table, entry)).toBe(sql);
  });
});

describe('the state', () => {
  it('comes back from JSON as it was, u64 exactly', () => {
    const table = newTableState({ oid: 4294967295, schema: 's', name: 't', entry: 7 }, true, false);
    table.history = [{ ...FIRST, version: 0xffff_ffff_ffff_ffffn }];
    table.snapshotVersion = 3n;
    table.abandoned = [1n, 2n];
    const state = {
      ...{
        systemIdentifier: '7710777409268598535',
        timeline: 1,
        database: 'd',
        slot: 's',
        publication: 'p',
        publicationOid: 9,
        publishes: 'inserts by root',
      },
      ...{ consistentPoint: 5n, tables: [table] },
    };
    expect(stateFromJson(stateToJson(state))).toEqual(state);
    expect(stateFromJson(null)).toBeNull();
    expect(() => stateFromJson({ format: 2 })).toThrow(/^MR_STATE_MALFORMED/);
    expect(() => stateFromJson({ format: 1 })).toThrow(/^MR_STATE_MALFORMED/);
  });

  it.each([
    ['never begun, not wanted', false, null, 5n, false],
    ['wanted', true, null, 5n, true],
    ['begun, no checkpoint', false, 5n, null, true],
    ['begun, checkpoint before it', false, 5n, 4n, true],
    ['begun, checkpoint at it', false, 5n, 5n, false],
  ])('I5: a snapshot that was %s', (_title, wantsSnapshot, snapshotVersion, checkpointTs, expected) => {
    const table = newTableState({ oid: 1, schema: 's', name: 't', entry: null }, wantsSnapshot, false);
    table.snapshotVersion = snapshotVersion;
    expect(needsSnapshot(table, checkpointTs)).toBe(expected);
  });
});
