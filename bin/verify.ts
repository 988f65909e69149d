import { Command } from 'commander';
import { idlePatterns, type Table } from '../lib/events/index.ts';
import { METADATA_PATH, parseMetadata } from '../lib/formats/storage-layout/index.ts';
import { formatDuration, isMillraceError, MillraceError, parseDurationMs, silentLogger, systemClock } from '../lib/index.ts';
import { openSnapshot, type SourceSnapshot } from '../lib/sources/postgres/index.ts';
import { checkName } from '../lib/sources/postgres/options.ts';
import { displayName, displayNames } from '../lib/sources/postgres/publication.ts';
import type { ObjectStore } from '../lib/stores/index.ts';
import { type RebuiltTable, rebuildTable, StoredTarget } from '../pipelines/index.ts';
import { fatesOf, type TableFate } from './capture-state.ts';
import { compareTable, type Verdict } from './compare-tables.ts';
import type { ExitCode } from './exit-code.ts';
import { databaseOption, folderOption, patternsOption } from './options.ts';
import type { Output } from './output.ts';
import { requireOptions } from './required.ts';
import { checkSource, type SlotWatch, watchSlot } from './slot-watch.ts';
import { openTarget, sourceOf } from './target.ts';

interface VerifyOptions {
  readonly from: string;
  readonly to: string;
  readonly tables?: string;
  readonly publication?: string;
  readonly state: string;
  readonly wait: string;
}

/** `millrace verify`: rebuilds each table from its files and compares it with the database. */
export function verifyCommand(output: Output, exit: (code: ExitCode) => void): Command {
  const command = new Command('verify')
    .description('Rebuilds each table from its files and compares it with the database, exactly, also while both change.')
    .option('--from <url>', 'the database: postgres://user:password@host/database (required)')
    .option('--to <uri>', 'the target: file:///dir or s3://bucket/prefix (required)')
    .option('--tables <patterns>', "tables to compare, such as 'public.*,!public.tmp_*' (default: every published table)")
    .option('--publication <name>', 'the publication whose row filters and column lists apply (default: what the target remembers)')
    .option('--state <dir>', 'the state folder of the capture, where it is here: it says which tables were stopped', './.millrace')
    .option('--wait <duration>', "how long to wait until the target's checkpoint passes the database's position", '30s')
    .addHelpText('after', '\nPrints: table <TAB> identical|different <TAB> source rows <TAB> rebuilt rows <TAB> first difference.')
    .action(async (options: VerifyOptions) => {
      const isStateGiven = command.getOptionValueSource('state') === 'cli';
      exit(await verify(options, isStateGiven, output));
    });
  return requireOptions(command, ['from', 'to']);
}

async function verify(options: VerifyOptions, isStateGiven: boolean, output: Output): Promise<ExitCode> {
  const { from, to, tables, publication, wait } = options;
  const url = databaseOption(from);
  const waitMs = parseDurationMs(wait, 'wait');
  if (publication !== undefined) checkName('publication', publication);
  const patterns = tables === undefined ? {} : { tables: patternsOption(tables, 'tables') };
  const state = { folder: folderOption(options.state, 'state'), isGiven: isStateGiven };
  const store = await openTarget(to);
  try {
    let startMs: number | null = null;
    for (;;) {
      const remembered = await sourceOf(store);
      await checkSource(url, store.uri, remembered);
      // The snapshot comes first: whatever is committed while it is waited for does not count, in the database or in the files.
      const applied = publication ?? remembered.publication;
      const snapshot = await openSnapshot(url, { publication: applied, ...patterns, logger: output.logger });
      try {
        if (publication !== undefined && !snapshot.isPublished) {
          const bound = 'a publication of the database';
          throw new MillraceError('MR_INVALID_OPTION', { option: 'publication', value: JSON.stringify(publication), bound });
        }
        if (startMs === null) {
          const fateOf = await fatesOf(state, remembered, output.logger);
          tellTables(snapshot, { patterns: patterns.tables ?? [], publication: applied, fateOf }, output);
        }
        startMs ??= systemClock.now();
        const slot = watchSlot(url, remembered);
        const fates = () => fatesOf(state, remembered, silentLogger);
        const verdict = await compareAll({ store, snapshot, fates, slot, startMs, waitMs }, output).finally(slot.close);
        if (verdict !== 'not-yet') return verdict;
      } finally {
        await snapshot.close();
      }
    }
  } finally {
    await store.close();
  }
}

type FateOf = ((table: Table) => TableFate) | null;

/** What is compared, and what is known to be of no use. */
function tellTables(
  { tables, isPublished }: SourceSnapshot,
  { patterns, publication, fateOf }: { readonly patterns: readonly string[]; readonly publication: string; readonly fateOf: FateOf },
  output: Output,
): void {
  const idle = idlePatterns(patterns, tables);
  if (idle.length > 0)
    output.logger.warn({ patterns: idle.join(', ') }, 'no table that is compared fits these patterns of the tables option');
  const from = isPublished ? `publication ${publication}` : `the database, which has no publication ${publication}`;
  const count = `${tables.length} ${tables.length === 1 ? 'table' : 'tables'}`;
  output.say(oneLine(`comparing ${count} of ${from}: ${displayNames(tables.toSorted(byName))}`));
  const stopped = tables.filter((table) => fateOf?.(table) === 'stopped');
  if (stopped.length > 0)
    output.logger.warn(
      { tables: displayNames(stopped) },
      'the capture has stopped these tables (MR_TABLE_REWRITTEN): nothing more comes of them',
    );
}

/** What is compared with what; how long the files are waited for, and from when on. */
interface Comparison {
  readonly store: ObjectStore;
  readonly snapshot: SourceSnapshot;
  /** What the capture remembers now: that may be more than before it was waited for. */
  fates(): Promise<FateOf>;
  readonly slot: SlotWatch;
  readonly startMs: number;
  readonly waitMs: number;
}

/**
 * Compares every table with the database as it is in `snapshot`. `not-yet`: the capture took its own snapshot of some table later than that, or tells of its
 * newest columns later, so that the files do not have the table at this place in the stream, and there is time left to look at a later one.
 *
 * Files that lag can be identical nevertheless, when nothing was changed in between; so where nobody captures they are compared soon. Only when something
 * differs then that a capture may mend is it waited for one that comes (again): one that is started anew or backs off is no reason to call rows different.
 */
async function compareAll(comparison: Comparison, output: Output): Promise<ExitCode | 'not-yet'> {
  const { store, snapshot, slot } = comparison;
  const upTo = snapshot.consistentPoint - 1n;
  for (let isLast = false; ; isLast = true) {
    const lag = await waitForCheckpoint(comparison, upTo, isLast ? IDLE_MS_MAX : IDLE_MS_BEFORE_LOOKING, output);
    const mayWait = !isLast && lag !== 0n && !isOver(comparison);
    // Without a checkpoint there is nothing to compare yet.
    if (lag === null && mayWait) continue;
    if (lag === null) {
      throw new MillraceError('MR_TARGET_LAGS', {
        uri: store.uri,
        checkpoint: 'not there yet',
        needed: upTo,
        wait: formatDuration(systemClock.now() - comparison.startMs),
      });
    }
    const target = await StoredTarget.open(store, upTo);
    const fateOf = await comparison.fates();
    const begunLater = snapshot.tables.filter(
      (table) => target.beginsLater({ schema: table.schema, table: table.name }) && fateOf?.(table) !== 'stopped',
    );
    if (begunLater.length > 0 && lag === 0n && !isOver(comparison)) {
      output.say('the snapshot of some tables was taken later: waiting for it', {
        tables: begunLater.map(({ schema, name }) => `${schema}.${name}`).join(', '),
      });
      return 'not-yet';
    }
    let asked: Promise<boolean> | null = lag === 0n ? Promise.resolve(false) : null;
    const mayLackChanges = () => (asked ??= slot.mayHoldChanges(upTo - lag, snapshot.consistentPoint));
    const lines: string[] = [];
    let different = 0;
    let late = 0;
    for (const table of snapshot.tables.toSorted(byName)) {
      const standing = { isBegunLater: begunLater.includes(table), fate: fateOf?.(table) ?? null, lag, mayLackChanges };
      const verdict = await verdictOf(table, target, snapshot, standing);
      // What the files will say of the table at a later snapshot, they cannot say at this one.
      if (verdict.isVersionDue && lag === 0n && !isOver(comparison) && (await slot.isActive())) {
        output.say('a newer version of a table is on its way: waiting for it', { table: `${table.schema}.${table.name}` });
        return 'not-yet';
      }
      if (!verdict.isIdentical) different++;
      if (verdict.isLate) late++;
      if (late > 0 && mayWait) break;
      const word = verdict.isIdentical ? 'identical' : 'different';
      const { sourceRows, rebuiltRows, firstDifference } = verdict;
      lines.push([oneLine(`${table.schema}.${table.name}`), word, sourceRows, rebuiltRows, oneLine(firstDifference)].join('\t'));
    }
    if (late > 0 && mayWait) {
      output.say('the files differ, lag, and nobody captures: waiting for a capture', { lag: String(lag) });
      continue;
    }
    const isBehind = different > 0 && (late > 0 || (await mayLackChanges()));
    sayLag(lag, upTo, different === 0 ? 'identical' : isBehind ? 'behind' : 'different', output);
    for (const line of lines) await output.line(line);
    if (late > 0) output.say('the files are behind the database: what is not captured yet counts as different', { lag: String(lag) });
    return different === 0 ? 0 : 1;
  }
}

/** How the files stand to the snapshot. */
interface Standing {
  readonly isBegunLater: boolean;
  /** Null where the capture's state is not known. */
  readonly fate: TableFate | null;
  /** Bytes of WAL between their checkpoint and the snapshot. */
  readonly lag: bigint;
  /** Whether changes of rows may stand in these bytes. */
  mayLackChanges(): Promise<boolean>;
}

interface Judgement extends Verdict {
  /** It may differ only because something is not captured yet. */
  readonly isLate: boolean;
  /** It differs, and the capture has a newer version of it, or is to get one. */
  readonly isVersionDue: boolean;
}

async function verdictOf(
  table: Table,
  target: StoredTarget,
  snapshot: SourceSnapshot,
  { isBegunLater, fate, lag, mayLackChanges }: Standing,
): Promise<Judgement> {
  const decoder = target.decoderOf(target.format?.protocol === 'csv' ? '.csv' : '.json');
  const { rebuilt, lack } = await rebuiltOf(table, target);
  const verdict = await compareTable(table, rebuilt, snapshot.rows(table), decoder.fromSourceText);
  const final = { ...verdict, isLate: false, isVersionDue: false };
  if (verdict.isIdentical) return final;
  if (fate === 'stopped') return { ...final, firstDifference: stoppedReason(table) };
  if (lack !== '') return { ...final, firstDifference: lack };
  const isCopying = isBegunLater || fate === 'copying';
  const difference = isCopying
    ? "the table's snapshot is not complete at the target yet"
    : fate === 'absent' || fate === 'left'
      ? NOT_CAPTURED
      : verdict.firstDifference;
  // A snapshot changes no row, nor does a change of the schema: a table or a column that the files do not know may come with it.
  const isNewer = isCopying || !knowsColumns(rebuilt, table) || target.hasVersionBeyond({ schema: table.schema, table: table.name });
  const isLate = lag > 0n && (isNewer || fate === 'absent' || (await mayLackChanges()));
  const firstDifference = isLate ? `${difference} (the files are ${lag} bytes of WAL behind)` : difference;
  return { ...verdict, firstDifference, isLate, isVersionDue: isNewer && rebuilt !== null };
}

function stoppedReason(table: Table): string {
  return `the capture has stopped it (MR_TABLE_REWRITTEN): its rows may have changed without row events; take it again with --resnapshot ${displayName(table)}`;
}

const NOT_CAPTURED = 'the capture does not have it: its --tables leave it out, or it has not joined yet';

function knowsColumns(rebuilt: RebuiltTable | null, { columns }: Table): boolean {
  return rebuilt !== null && columns.every(({ name }) => rebuilt.columns.some(({ ColumnName }) => ColumnName === name));
}

async function rebuiltOf({ schema, name: table }: Table, target: StoredTarget): Promise<{ rebuilt: RebuiltTable | null; lack: string }> {
  try {
    return { rebuilt: await rebuildTable(target, { schema, table }), lack: '' };
  } catch (error) {
    if (isMillraceError(error, 'MR_UNKNOWN_TABLE')) return { rebuilt: null, lack: '' };
    if (!isMillraceError(error, 'MR_HISTORY_REMOVED')) throw error;
    const lack = `clean-up has removed its changes up to ${error.details['position']}: it cannot be rebuilt until it is taken again (--resnapshot)`;
    return { rebuilt: null, lack };
  }
}

/**
 * Behind a capture that has drained there is a lag all the same: PostgreSQL writes a record of 56 bytes whenever such a snapshot is opened. It holds no change;
 * what else stands in the WAL is looked at only when something differs.
 */
function sayLag(lag: bigint, upTo: bigint, result: 'identical' | 'different' | 'behind', output: Output): void {
  const said = {
    identical: `the files are caught up: no row of these tables differs. Behind their checkpoint are ${lag} bytes of WAL; each verify adds some when it opens its snapshot`,
    different: `the files have every change of a row: in the ${lag} bytes of WAL behind their checkpoint there is none`,
    behind: `the files are ${lag} bytes of WAL behind the database`,
  };
  output.say(lag === 0n ? 'the files are at the snapshot of the database' : said[result], {
    checkpointTs: String(upTo - lag),
    snapshotTs: String(upTo),
  });
}

function isOver({ startMs, waitMs }: Pick<Comparison, 'startMs' | 'waitMs'>): boolean {
  return systemClock.now() - startMs >= waitMs;
}

const POLL_MS = 250;
const POLLS_BEFORE_SAYING = 5;
/** No capture for so long means that nobody captures at the moment: time to look whether the files are identical as they are. */
const IDLE_MS_BEFORE_LOOKING = 1_000;
/** And for so long, that nobody will: a capture that lost its connection tries again after 10 s at the latest, and one that is restarted is there sooner. */
const IDLE_MS_MAX = 12_000;

/**
 * Waits until the target's checkpoint is at `needed`, as long as there is time and somebody captures, or did less than `idleMs` ago. Resolves to how far
 * it is behind; null when there is no checkpoint.
 */
async function waitForCheckpoint(comparison: Comparison, needed: bigint, idleMs: number, output: Output): Promise<bigint | null> {
  const { store, slot } = comparison;
  const beginMs = systemClock.now();
  let activeMs = beginMs;
  let seenTs: bigint | null = null;
  for (let poll = 0; ; poll++) {
    const isCapturing = await slot.isActive();
    const checkpointTs = await checkpointOf(store);
    const nowMs = systemClock.now();
    // The lock of a capture is gone with its session for a moment: a checkpoint that moves tells of a capture, too.
    if (isCapturing || (poll > 0 && checkpointTs !== seenTs)) activeMs = nowMs;
    seenTs = checkpointTs;
    const lag = checkpointTs === null ? null : needed > checkpointTs ? needed - checkpointTs : 0n;
    if (lag === 0n || nowMs - activeMs >= idleMs || isOver(comparison)) return lag;
    // Not at once: where nobody captures, there is nothing to wait for.
    if (poll % 8 === POLLS_BEFORE_SAYING)
      output.say(`waiting for the files: ${lag === null ? 'no checkpoint yet' : `${lag} bytes of WAL behind`}`, {
        snapshotTs: String(needed),
      });
    await systemClock.sleep(POLL_MS);
  }
}

async function checkpointOf(store: ObjectStore): Promise<bigint | null> {
  const metadata = await store.get(METADATA_PATH);
  return metadata === null ? null : parseMetadata(metadata.toString());
}

function byName(a: { schema: string; name: string }, b: { schema: string; name: string }): number {
  const [left, right] = a.schema === b.schema ? [a.name, b.name] : [a.schema, b.schema];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Tabs and line ends in a name would break the line. */
function oneLine(name: string): string {
  return name.replace(/[\t\r\n]/g, ' ');
}
