import { isMillraceError, reasonOf } from '../../../lib/errors.ts';
import { dateComponent } from '../../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../../lib/stores/index.ts';
import type { Simulation } from '../../../lib/testing/index.ts';
import { type Change, type TableChanges, TargetReader } from '../../../pipelines/index.ts';
import type { CleanedStore } from './cleaned-store.ts';
import { type Committed, DAY_MS, type Days } from './days.ts';
import type { Rule } from './rules.ts';

export interface Watched {
  readonly sim: Simulation;
  readonly days: Days;
  readonly target: CleanedStore;
  /** The same target, each call taking its time. */
  readonly store: ObjectStore;
  readonly expirationDays: number;
  /** How far the writer's clock and the database's can be apart. */
  readonly skewMs: number;
  broken(rule: Rule, reason: string): void;
}

/** What one reader has of each table, and what it was told is missing. */
class Seen {
  readonly changes = new Map<string, Change[]>();
  readonly removedUpTo = new Map<string, bigint>();

  take({ table, changes, removedUpTo }: TableChanges): void {
    const seen = this.changes.get(table) ?? [];
    this.changes.set(table, seen);
    if (removedUpTo !== undefined) this.removedUpTo.set(table, removedUpTo.commitTs);
    seen.push(...changes);
  }
}

/** Begins now and reads everything there is: what has not expired, behind what it is told is missing. */
export async function beginner(watched: Watched): Promise<void> {
  const reader = new TargetReader(watched.store);
  const seen = new Seen();
  const isGivenUp = await round(watched, reader, seen);
  if (!isGivenUp) check(watched, seen, reader.checkpointTs, '');
  for (const [table, removedTs] of seen.removedUpTo) checkExpired(watched, table, removedTs);
}

/**
 * Keeps up: asked often enough, it has every change there ever was, and no error. Only where the target stood still for so long that what it then publishes has expired
 * can it be too late; it begins anew then.
 */
export class Follower {
  readonly #watched: Watched;
  #seen = new Seen();
  /** What to come back with, after each round. */
  cursor: string | null = null;
  #checkpointTs: bigint | null = null;

  constructor(watched: Watched) {
    this.#watched = watched;
  }

  /** Another process each time, which has nothing but the cursor. */
  async read(): Promise<void> {
    const { target, days, broken } = this.#watched;
    const reader = new TargetReader(this.#watched.store, { cursor: this.cursor });
    if (await round(this.#watched, reader, this.#seen)) {
      const sawTs = this.#checkpointTs ?? -1n;
      const isNews = [...days.committed.keys()].some((table) => (target.removedUpTo(table) ?? -1n) > sawTs);
      if (!isNews) broken('follower', `it has seen all up to ${sawTs}, and is told that changes are missing`);
      this.#seen = new Seen();
      this.cursor = null;
      return;
    }
    this.cursor = reader.cursor;
    this.#checkpointTs = reader.checkpointTs;
    check(this.#watched, this.#seen, this.#checkpointTs, 'follower');
  }
}

/** Was away since `cursor`: it has all that came since, or is told that it has not. */
export async function returner(watched: Watched, cursor: string): Promise<void> {
  const reader = new TargetReader(watched.store, { cursor });
  const sinceTs = reader.checkpointTs;
  const seen = new Seen();
  const isGivenUp = await round(watched, reader, seen);
  const isMissing = (table: string) => {
    const removedTs = watched.target.removedUpTo(table);
    const due = watched.days.committed.get(table)!.find(({ commitTs }) => sinceTs === null || commitTs > sinceTs);
    return removedTs !== null && due !== undefined && due.commitTs <= removedTs;
  };
  const missing = [...watched.days.committed.keys()].filter(isMissing);
  if (isGivenUp && missing.length === 0)
    watched.broken('told', `a reader that came to ${sinceTs} is refused, and nothing of it is removed`);
  if (isGivenUp) return;
  for (const [table, changes] of seen.changes) {
    const removedTs = seen.removedUpTo.get(table) ?? sinceTs;
    compare(watched, table, changes, removedTs, reader.checkpointTs);
  }
}

/** Whether it was told that it has missed something. */
async function round({ sim, broken }: Watched, reader: TargetReader, seen: Seen): Promise<boolean> {
  try {
    for await (const part of reader.poll()) seen.take(part);
    return false;
  } catch (error) {
    if (!isMillraceError(error, 'MR_HISTORY_REMOVED')) broken('whole', reasonOf(error));
    sim.note('reader', `is told that changes are missing: ${reasonOf(error)}`);
    return true;
  }
}

function check(watched: Watched, seen: Seen, checkpointTs: bigint | null, who: 'follower' | ''): void {
  if (checkpointTs === null) return;
  for (const [table, committed] of watched.days.committed) {
    const removedTs = seen.removedUpTo.get(table) ?? null;
    if (!committed.some(({ commitTs }) => commitTs <= checkpointTs)) continue;
    compare(watched, table, seen.changes.get(table) ?? [], removedTs, checkpointTs, who === '' ? 'whole' : 'follower');
  }
}

function compare(
  { days, broken }: Watched,
  table: string,
  changes: readonly Change[],
  behindTs: bigint | null,
  checkpointTs: bigint | null,
  rule: Rule = 'whole',
): void {
  const isDue = ({ commitTs }: Committed) =>
    (behindTs === null || commitTs > behindTs) && checkpointTs !== null && commitTs <= checkpointTs;
  const expected = days.committed
    .get(table)!
    .filter(isDue)
    .map(({ op, commitTs }) => `${op}${commitTs}`);
  const found = changes.map(({ op, commitTs }) => `${op}${commitTs}`);
  const at = expected.findIndex((text, index) => text !== found[index]);
  if (at < 0 && found.length === expected.length) return;
  const place = at < 0 ? expected.length : at;
  broken(
    rule,
    `${table} from ${behindTs} to ${checkpointTs}: number ${place} is ${found[place]}, and ${expected[place]} is what there was`,
  );
}

/** What a reader is told is missing has expired, all of it. */
function checkExpired({ days, target, expirationDays, skewMs, broken }: Watched, table: string, removedTs: bigint): void {
  const limit = dateComponent(days.timeOf(target.publishedTs!) - expirationDays * DAY_MS, 'day');
  const last = days.committed.get(table)!.findLast(({ commitTs }) => commitTs <= removedTs);
  if (last === undefined) return;
  // Folders are dated by the writer.
  const day = dateComponent(Math.max(0, last.timeMs - skewMs), 'day');
  if (day >= limit) broken('kept', `${table} up to ${removedTs} of ${day} is removed, and ${limit} is the first day that stays`);
}
