import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { fatesOf } from '../../bin/capture-state.ts';
import type { Table } from '../../lib/events/index.ts';
import { fileCheckpoint, silentLogger } from '../../lib/index.ts';
import { newTableState, stateToJson, type TableState } from '../../lib/sources/postgres/state.ts';

const TARGET = { slot: 'orders', publication: 'orders', systemIdentifier: '7', database: 'shop' };

describe('what a capture remembers of its tables', () => {
  let folder: string;
  let warnings: string[];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'millrace-fates-'));
    warnings = [];
  });
  afterEach(() => rm(folder, { recursive: true }));

  const logger = { ...silentLogger, warn: (_: object, message: string) => void warnings.push(message) };
  const fates = (isGiven: boolean, target: Parameters<typeof fatesOf>[1] = TARGET) => fatesOf({ folder, isGiven }, target, logger);

  async function save(checkpointTs: bigint, parts: Partial<TableState>[]): Promise<void> {
    const tables = parts.map((part, i) => ({
      ...newTableState({ oid: i, schema: 's', name: `t${i}`, entry: null }, false, false),
      ...part,
    }));
    const names = { slot: 'orders', publication: 'orders', publicationOid: 5, publishes: null };
    const sourceState = stateToJson({ systemIdentifier: '7', timeline: 1, database: 'shop', ...names, consistentPoint: 1n, tables });
    const store = fileCheckpoint(folder);
    await store.save('orders', { checkpointTs, sourceState });
    await store.close?.();
  }

  it('is a word for each, by oid', async () => {
    await save(100n, [
      //state                                          fate
      { snapshotVersion: 100n }, //                    captured: the checkpoint has reached its snapshot
      { snapshotVersion: 101n }, //                    copying
      { wantsSnapshot: true }, //                      copying
      { status: 'stopped', snapshotVersion: 50n },
      { status: 'left', wantsSnapshot: true },
    ]);
    const fateOf = await fates(true);
    const words = [0, 1, 2, 3, 4, 5].map((tableId) => fateOf!({ tableId } as Table));
    expect(words).toEqual(['captured', 'copying', 'copying', 'stopped', 'left', 'absent']);
  });

  it.each<[string, () => Promise<void> | void, Partial<typeof TARGET>, RegExp, number]>([
    ['nothing is there', () => {}, {}, /it has no orders\.checkpoint\.json/, 0],
    ['it is of another database', () => save(1n, []), { database: 'other' }, /what is there is of another database/, 0],
    ['it is of another server', () => save(1n, []), { systemIdentifier: '8' }, /what is there is of another database/, 0],
    ['it is damaged', () => writeFile(join(folder, 'orders.checkpoint.json'), '{'), {}, /MR_CHECKPOINT_CORRUPT/, 1],
  ])('is an error where the user named the folder, and unknown otherwise, when %s', async (_, make, other, message, count) => {
    await make();
    await expect(fates(true, { ...TARGET, ...other })).rejects.toThrow(message);
    expect(await fates(false, { ...TARGET, ...other })).toBeNull();
    expect(warnings).toHaveLength(count);
  });
});
