import { describe, expect, it } from '@jest/globals';
import type { DdlEvent } from '../../../../lib/events/index.ts';
import { silentLogger } from '../../../../lib/flow/index.ts';
import { CapturedTables } from '../../../../lib/sources/postgres/captured-tables.ts';
import type { CatalogLeaf, CatalogTable } from '../../../../lib/sources/postgres/catalog.ts';
import { newTableState, type PostgresState } from '../../../../lib/sources/postgres/state.ts';

const OID = 7;
const CATALOG: CatalogTable = {
  ...{ oid: OID, schema: 'public', name: 't', kind: 'r', isPartition: false, replicaIdentity: 'd', snapshotFileNode: 1, fileNode: 1 },
  ...{ toastOid: 0, columns: [], primaryKey: [], identityKey: [], partitions: [], rowsEstimated: 0, analyzedAt: 0, readAt: 0 },
};

/** Table `t`, captured since 10, of which the catalog shows `catalog`. */
function capturing({ dropBefore = 0n, catalog = null }: { dropBefore?: bigint; catalog?: CatalogTable | null } = {}) {
  const table = newTableState({ oid: OID, schema: 'public', name: 't', entry: null }, false, true);
  table.history = [{ version: 10n, schema: 'public', name: 't', replicaIdentity: 'd', columns: [] }];
  table.dropBefore = dropBefore;
  const state: PostgresState = {
    ...{ systemIdentifier: '1', timeline: 1, database: 'd', slot: 's', publication: 'p', publicationOid: 1, publishes: '' },
    ...{ consistentPoint: 1n, tables: [table] },
  };
  let saves = 0;
  const save = async () => void saves++;
  const look = async () => ({ table: catalog, before: 0n, after: 0n });
  const captured = new CapturedTables({ pipeline: 'x', state, save, look, onUnknown: () => {}, logger: silentLogger }, 10n);
  const tell = (
    event: 'ddl_command_end' | 'sql_drop',
    commitTs: bigint,
    lsn = commitTs - 1n,
    objid = OID,
  ): Promise<readonly DdlEvent[]> => {
    const content = Buffer.from(JSON.stringify({ event, tag: 'x', query: `q${lsn}`, objects: [{ objid, type: 'table' }] }));
    const message = { type: 'message', isTransactional: true, lsn, prefix: 'ours', content } as const;
    return captured.statement(message, { commitTs, ordinal: 0, commitTimeUs: 0n });
  };
  return { captured, table, tell, saves: () => saves };
}

describe('a DROP TABLE that the stream tells of', () => {
  it('is one event, though a reconnection inside its transaction brings the message again', async () => {
    const { tell, table, saves } = capturing();
    const [event, ...none] = await tell('sql_drop', 20n);
    expect(none).toEqual([]);
    expect(event).toMatchObject({ action: 4, startsEmpty: true, statement: 'q19', table: { version: 20n } });
    // Stored before it is emitted.
    expect([saves(), table.history.map(({ version }) => version), table.droppedBefore]).toEqual([1, [10n, 20n], 20n]);
    expect(await tell('sql_drop', 20n)).toEqual([]);
    expect(table.history).toHaveLength(2);
  });

  it("is none from before the table's snapshot, or of a table that is there", async () => {
    expect(await capturing({ dropBefore: 21n }).tell('sql_drop', 20n)).toEqual([]);
    expect(await capturing({ catalog: CATALOG }).tell('sql_drop', 20n)).toEqual([]);
  });
});

describe('a reading of the catalog in whose midst something was committed', () => {
  const leaf = (oid: number, fileNode: number, xmin: string, rowsEstimated = -1, snapshotFileNode = fileNode): CatalogLeaf => ({
    ...{ oid, isLeaf: true, name: `p${oid}`, replicaIdentity: 'd', hasIdentityIndex: true, snapshotFileNode, fileNode, toastOid: 0 },
    ...{ rowsEstimated, xmin, attachedXmin: '1', isBornPartition: true },
  });
  const reading = (readAt: number, partitions: readonly CatalogLeaf[]): CatalogTable => ({
    ...{ ...CATALOG, kind: 'p', snapshotFileNode: 0, fileNode: 0, partitions, readAt },
  });
  const LOOK = { before: 20n, after: 30n };

  it('P6: stops no table: file nodes behind a TRUNCATE of the whole, and partitions as they were before it, look like some truncated alone', () => {
    const { captured, table } = capturing();
    const before = reading(1, [leaf(1, 11, '5', 100), leaf(2, 12, '5'), leaf(3, 13, '7')]);
    expect(captured.compare(OID, before, LOOK)).toBe(true);
    const torn = reading(2, [leaf(1, 21, '5', 100, 11), leaf(2, 22, '5', -1, 12), leaf(3, 23, '7', -1, 13)]);
    expect(captured.compare(OID, torn, LOOK)).toBe(true);
    expect([table.status, table.seen]).toEqual(['captured', before]);
    // The next one has all of it, and the stream tells of the TRUNCATE.
    expect(captured.compare(OID, reading(3, [leaf(1, 21, '9'), leaf(2, 22, '9'), leaf(3, 23, '9')]), LOOK)).toBe(true);
    expect([table.status, captured.isSettled(OID)]).toEqual(['captured', false]);
  });
});

describe('statements that wait', () => {
  it('P5: are void where a snapshot begins behind them: what they changed is in it', async () => {
    const { captured, table, tell } = capturing({ catalog: CATALOG });
    await tell('ddl_command_end', 20n);
    await tell('ddl_command_end', 40n);
    captured.beganFrom(OID, CATALOG, 30n);
    expect(table.statements.map(({ query }) => query)).toEqual(['q39']);
  });

  it('are stored when they are news: not a replay of them, nor what is said of tables that nobody captures, by whomever', async () => {
    const { tell, saves } = capturing({ catalog: CATALOG });
    await tell('ddl_command_end', 20n);
    expect(saves()).toBe(1);
    await tell('ddl_command_end', 20n);
    await tell('ddl_command_end', 30n, 29n, OID + 1);
    await tell('sql_drop', 30n, 29n, OID + 1);
    await tell('sql_drop', 30n);
    expect(saves()).toBe(1);
    await tell('ddl_command_end', 40n);
    expect(saves()).toBe(2);
  });

  it('are forgotten, and it is said so, when the checkpoint has passed the event that carries them', async () => {
    const { captured, table, tell } = capturing({ catalog: CATALOG });
    await tell('ddl_command_end', 20n);
    expect(captured.confirmed(25n)).toBe(false);
    table.statements = table.statements.map((statement) => ({ ...statement, toldAt: 30n }));
    expect([captured.confirmed(29n), captured.confirmed(30n), captured.confirmed(31n)]).toEqual([false, true, false]);
    expect(table.statements).toEqual([]);
  });
});
