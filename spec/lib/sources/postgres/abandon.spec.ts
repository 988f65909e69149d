import { describe, expect, it } from '@jest/globals';
import type { TableVersion } from '../../../../lib/sources/postgres/schema-history.ts';
import { abandon } from '../../../../lib/sources/postgres/snapshot.ts';
import { needsSnapshot, newTableState } from '../../../../lib/sources/postgres/state.ts';

const at = (version: bigint): TableVersion => ({ version, schema: 'public', name: 'users', replicaIdentity: 'd', columns: [] });

describe('P5: a snapshot that is abandoned', () => {
  it('takes with it the versions that the stream has begun on it: readers would see them before the next snapshot', () => {
    const state = newTableState({ oid: 1, schema: 'public', name: 'users', entry: 1 }, false, true);
    state.history = [at(50n), at(99n), at(120n), at(121n)];
    state.snapshotVersion = 99n;
    abandon(state);
    expect(state.abandoned).toEqual([99n, 120n, 121n]);
    expect(state.history.map(({ version }) => version)).toEqual([50n]);
    expect(needsSnapshot(state, 200n)).toBe(true);
    state.snapshotVersion = 130n;
    state.history.push(at(130n));
    abandon(state);
    expect(state.abandoned).toEqual([99n, 120n, 121n, 130n]);
  });

  it('takes nothing with it that was never begun', () => {
    const state = newTableState({ oid: 1, schema: 'public', name: 'users', entry: 1 }, true, true);
    state.history = [at(50n)];
    abandon(state);
    expect(state.abandoned).toEqual([]);
    expect(state.history.map(({ version }) => version)).toEqual([50n]);
  });
});
