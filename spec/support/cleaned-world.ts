import { dmlEvent, RowBlockWriter, resolvedEvent, type Table } from '../../lib/events/index.ts';
import { noSystemEvents, type SystemEvents } from '../../lib/flow/index.ts';
import type { ObjectStore } from '../../lib/stores/index.ts';
import type { VirtualClock } from '../../lib/testing/index.ts';
import { type CloudStorageOptions, readTable } from '../../pipelines/index.ts';
import { type OpenWorld, openWorld, table } from './sink-world.ts';

export const DAY_MS = 24 * 3600 * 1000;
export const USERS = { schema: 'public', table: 'users' };

export function users(version = 1n, parts: Partial<Table> = {}): Table {
  return table('users', version, ['id', 'name'], ['id'], parts);
}

/** A sink in virtual time that writes day by day. */
export interface CleanedWorld {
  readonly clock: VirtualClock;
  readonly store: ObjectStore;
  readonly world: OpenWorld;
  /** Goes on to noon of that day since 1970. */
  noonOf(day: number): Promise<void>;
  /** A row of one transaction, committed at `timeMs` (default: now), written, and published. */
  commit(commitTs: bigint, of?: Table, timeMs?: number): Promise<void>;
  publish(): Promise<void>;
}

/** Cleans up what is older than a day, at two in the morning. */
export async function cleanedWorld(
  clock: VirtualClock,
  store: ObjectStore,
  options: Partial<CloudStorageOptions> = {},
  events: SystemEvents = noSystemEvents,
): Promise<CleanedWorld> {
  const given = { dateSeparator: 'day', fileExpirationDays: 1, flushInterval: '1s', fileIndexDigit: 6, ...options };
  const world = await openWorld(store, given, clock, {}, events);
  const publish = async () => {
    await world.sink.publishCheckpoint(world.context.progress.checkpointTs, true);
  };
  return {
    clock,
    store,
    world,
    publish,
    noonOf: (day) => clock.advance(day * DAY_MS + DAY_MS / 2 - clock.now()),
    commit: async (commitTs, of = users(), timeMs = clock.now()) => {
      const timeUs = BigInt(timeMs) * 1000n;
      const row = new RowBlockWriter(of).beginTransaction(commitTs, timeUs).insert({ id: String(commitTs), name: 'x' });
      world.send(dmlEvent(row.build()), resolvedEvent(commitTs, timeUs));
      await clock.advance(5000);
      await publish();
    },
  };
}

export async function keysOf(store: ObjectStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list('')) keys.push(key);
  return keys;
}

/** The days of which there are files. */
export async function daysOf(store: ObjectStore): Promise<string[]> {
  return [...new Set((await keysOf(store)).flatMap((key) => /\/(\d{4}-\d{2}-\d{2})\//.exec(key)?.[1] ?? []))].sort();
}

/** The rows that a reader finds, in order, from where on the history is whole. */
export async function idsOf(store: ObjectStore): Promise<(string | null | undefined)[]> {
  const ids: (string | null | undefined)[] = [];
  for await (const changes of readTable(store, USERS, { mayLack: true })) ids.push(...changes.map(({ data }) => data?.['id']));
  return ids;
}
