import { comparePositions, type Position } from '../../../lib/events/index.ts';
import { dataDirectoryOf, dateComponent, parsePositions, positionsPath } from '../../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../../lib/stores/object-store.ts';
import { type CleanedFolder, type CleanedMark, extendCleanedMark } from './cleaned-mark.ts';
import { datedFile, type ExpiredDirectory, type ExpiredFolder, type ExpiredSeries, expiredFolders } from './expired-directories.ts';

/** What one run of clean-up works on. */
export interface CleanUpJob {
  readonly store: ObjectStore;
  /** What earlier runs removed; replaced as this one goes on, before anything is removed. */
  mark: CleanedMark;
  /** Data folders of an earlier day go. */
  readonly before: string;
  /** The checkpoint in `metadata`. */
  readonly publishedTs: bigint;
  /** Throws when another run has taken over (I9). */
  checkEpoch?(): Promise<void>;
  /** Data folders that are remembered at once, at least. Default 10,000. */
  readonly directoriesAtOnce?: number;
  /** Asked between batches; the run ends there, and the next one goes on. */
  isStopped(): boolean;
  /** A folder stays, though its day has expired. */
  onKept(path: string, reason: string): void;
  /** So much is gone. */
  onRemoved?(files: number, bytes: number): void;
}

/** What a run has removed. */
export interface CleanedUp {
  readonly files: number;
  readonly bytes: number;
  readonly directories: number;
}

/**
 * The first day that stays: data folders before it have expired when the last published checkpoint was committed at `commitTimeMs`. The boundary day itself
 * stays (spec storage-sink §9.3). Nor does anything of today or yesterday go, by the writer's clock, however far that is from the source's: rows are still written there.
 */
export function expiryDay(commitTimeMs: number, nowMs: number, days: number): string {
  const boundaryMs = Math.min(commitTimeMs, nowMs) - days * DAY_MS;
  return boundaryMs < 0 ? FIRST_DAY : dateComponent(boundaryMs, 'day');
}

/**
 * Removes the data folders of expired days: index files, then data files, then sidecars. Schema files and `metadata` stay.
 *
 * In plain words: first it is written down what goes, then it goes. A reader that comes later knows that something is missing, and nothing depends on how far
 * the removing got.
 *
 * A folder stays where it has something beyond the published checkpoint, and so do the later ones of its table: what is removed of a table is its beginning.
 *
 * @throws what the store throws; the next run goes on.
 */
export async function cleanUp(job: CleanUpJob): Promise<CleanedUp> {
  const removed = { files: 0, bytes: 0, directories: 0 };
  // A target that nobody cleaned for years is done in portions: what is remembered of folders is bounded.
  for (let isMore = true; isMore && !job.isStopped(); ) {
    const portion = await nextPortion(job);
    isMore = portion.isMore;
    if (portion.directories.length === 0) continue;
    await job.checkEpoch?.();
    job.mark = await extendCleanedMark(job.store, job.before, portion.folders);
    await remove(job, portion.directories, removed);
  }
  return removed;
}

interface Portion {
  readonly directories: ExpiredDirectory[];
  readonly folders: Map<string, CleanedFolder>;
  readonly isMore: boolean;
}

/** Folders of tables, each whole, until there are many data folders. Those that stay are passed over for good. */
async function nextPortion(job: CleanUpJob): Promise<Portion> {
  const directories: ExpiredDirectory[] = [];
  const folders = new Map<string, CleanedFolder>();
  for await (const expired of expiredFolders(job.store, job.before)) {
    if (job.isStopped()) return { directories: [], folders, isMore: false };
    if (directories.length >= (job.directoriesAtOnce ?? DIRECTORIES_AT_ONCE)) return { directories, folders, isMore: true };
    const { before, upTo, leaving } = await leavingOf(job, expired);
    directories.push(...leaving);
    if (upTo !== null) folders.set(expired.folder, { before, upTo });
  }
  return { directories, folders, isMore: false };
}

/** What of a table's expired folders can go. */
async function leavingOf(
  job: CleanUpJob,
  { folder, directories }: ExpiredFolder,
): Promise<{ before: string; upTo: Position | null; leaving: ExpiredDirectory[] }> {
  let { before } = job;
  const declared = job.mark.folders.get(folder)?.before ?? '';
  const published: [ExpiredDirectory, Position][] = [];
  await inParallel(directories, async (directory) => {
    // What an earlier run has written down as removed goes, whatever is left of it.
    if (directory.day < declared) return;
    for (const series of directory.series.values()) {
      const { reason, last } = await lookAt(job, series);
      if (reason !== null) {
        if (directory.day < before) before = directory.day;
        job.onKept(directory.path, reason);
      } else if (last !== null) {
        published.push([directory, last]);
      }
    }
  });
  const upTo = latest(published.filter(([{ day }]) => day < before).map(([, last]) => last));
  return { before, upTo, leaving: directories.filter(({ day }) => day < before) };
}

interface Looked {
  /** Why it stays; null: it can go. */
  readonly reason: string | null;
  /** The last position that its index publishes; without an index nothing is. */
  readonly last: Position | null;
}

async function lookAt({ store, publishedTs }: CleanUpJob, series: ExpiredSeries): Promise<Looked> {
  const { newestSidecar, index, dataNumber, sidecarNumber } = series;
  const stays = (reason: string): Looked => ({ reason, last: null });
  if (newestSidecar === null) {
    return index === null && dataNumber === 0 ? NOTHING : stays('its files have no sidecars, which say what is in them');
  }
  if (dataNumber > sidecarNumber) return stays('its newest file has no sidecar, which says what is in it');
  const named = index === null ? null : await store.get(index);
  const last = index === null || named === null ? null : await lastPosition(store, sidecarOf(index, named));
  // Its readers could not be told what they lack.
  if (named !== null && last === null) return stays('the file that its index names has no sidecar, which says what is in it');
  // A file without rows closes a folder: what it stands behind is published.
  const written = (await lastPosition(store, newestSidecar)) ?? last;
  return written !== null && written.commitTs > publishedTs ? stays('it has rows beyond the published checkpoint') : { reason: null, last };
}

const NOTHING: Looked = { reason: null, last: null };

/** Of the file that an index names. */
function sidecarOf(index: string, content: Buffer): string {
  const stem = content
    .toString()
    .trimEnd()
    .replace(/\.\w+$/, '');
  return positionsPath(dataDirectoryOf(index), stem);
}

/** The last position that a sidecar names. Which of its descriptions is of the file, the file alone can tell: the last of all counts. */
async function lastPosition(store: ObjectStore, sidecar: string): Promise<Position | null> {
  const content = await store.get(sidecar);
  if (content === null) return null;
  const { runs, alternatives = [] } = parsePositions(content.toString(), sidecar);
  const ends = [runs.at(-1), ...alternatives.map((one) => one.runs.at(-1))];
  return latest(ends.flatMap((end) => (end === undefined ? [] : { commitTs: end.commitTs, ordinal: end.last })));
}

function latest(positions: readonly Position[]): Position | null {
  return positions.reduce<Position | null>((most, one) => (most === null || comparePositions(most, one) < 0 ? one : most), null);
}

/** Index files of all folders first; then folder by folder data files and, when these are gone, sidecars. */
async function remove(job: CleanUpJob, directories: readonly ExpiredDirectory[], removed: Mutable<CleanedUp>): Promise<void> {
  const { store } = job;
  const count = (files: number, bytes: number) => {
    removed.files += files;
    removed.bytes += bytes;
    job.onRemoved?.(files, bytes);
  };
  const indexes = directories.flatMap(({ series }) => [...series.values()].flatMap(({ index }) => index ?? []));
  for (let from = 0; from < indexes.length; from += BATCH_FILES) {
    if (job.isStopped()) return;
    const batch = indexes.slice(from, from + BATCH_FILES);
    await inParallel(batch, (key) => store.delete(key));
    count(batch.length, 0);
  }
  for (const { path } of directories) {
    let batch: { key: string; size: number }[] = [];
    let kind: 'data' | 'sidecar' = 'data';
    const flush = async () => {
      await inParallel(batch, ({ key }) => store.delete(key));
      count(
        batch.length,
        batch.reduce((sum, { size }) => sum + size, 0),
      );
      batch = [];
    };
    // `CDC…` comes before `meta/…` in every list.
    for await (const object of store.list(`${path}/`)) {
      const file = datedFile(object.key);
      if (file === null || file.directory !== path || file.kind === 'index') continue;
      if (batch.length === BATCH_FILES || file.kind !== kind) await flush();
      if (job.isStopped()) return;
      kind = file.kind;
      batch.push(object);
    }
    await flush();
    removed.directories++;
    await store.removeEmptyFolders?.(path);
  }
}

/** `fn` of each item, at most 32 at once. The first error is the result's, when those that had begun have ended. */
async function inParallel<T>(items: readonly T[], fn: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const failures: unknown[] = [];
  const work = async () => {
    while (next < items.length && failures.length === 0) await fn(items[next++]!).catch((error: unknown) => failures.push(error));
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, work));
  if (failures.length > 0) throw failures[0];
}

type Mutable<T> = { -readonly [member in keyof T]: T[member] };

const DAY_MS = 24 * 3600 * 1000;
const FIRST_DAY = '1970-01-01';
/** Spec storage-sink §9.3. */
const BATCH_FILES = 3000;
const PARALLEL = 32;
const DIRECTORIES_AT_ONCE = 10_000;
