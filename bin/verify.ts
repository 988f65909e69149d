import { Command } from 'commander';
import { type Table, tableMatcher } from '../lib/events/index.ts';
import { METADATA_PATH, parseMetadata } from '../lib/formats/storage-layout/index.ts';
import { formatDuration, isMillraceError, MillraceError, parseDurationMs, systemClock } from '../lib/index.ts';
import { openSnapshot, type SourceSnapshot } from '../lib/sources/postgres/index.ts';
import { checkName } from '../lib/sources/postgres/options.ts';
import type { ObjectStore } from '../lib/stores/index.ts';
import { type RebuiltTable, rebuildTable, StoredTarget } from '../pipelines/index.ts';
import { compareTable, type Verdict } from './compare-tables.ts';
import type { ExitCode } from './exit-code.ts';
import { databaseOption, patternsOption } from './options.ts';
import type { Output } from './output.ts';
import { requireOptions } from './required.ts';
import { checkSource, watchSlot } from './slot-watch.ts';
import { openTarget, sourceOf } from './target.ts';

interface VerifyOptions {
  readonly from: string;
  readonly to: string;
  readonly tables?: string;
  readonly publication?: string;
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
    .option('--wait <duration>', "how long to wait until the target's checkpoint passes the database's position", '30s')
    .addHelpText('after', '\nPrints: table <TAB> identical|different <TAB> source rows <TAB> rebuilt rows <TAB> first difference.')
    .action(async (options: VerifyOptions) => exit(await verify(options, output)));
  return requireOptions(command, ['from', 'to']);
}

async function verify({ from, to, tables, publication, wait }: VerifyOptions, output: Output): Promise<ExitCode> {
  const url = databaseOption(from);
  const waitMs = parseDurationMs(wait, 'wait');
  if (publication !== undefined) checkName('publication', publication);
  const patterns = tables === undefined ? {} : { tables: patternsOption(tables, 'tables') };
  const store = await openTarget(to);
  try {
    let startMs: number | null = null;
    let isWarned = false;
    for (;;) {
      const remembered = await sourceOf(store);
      await checkSource(url, store.uri, remembered);
      // The snapshot comes first: whatever is committed while it is waited for does not count, in the database or in the files.
      const snapshot = await openSnapshot(url, { publication: publication ?? remembered.publication, ...patterns, logger: output.logger });
      try {
        startMs ??= systemClock.now();
        if (!isWarned) warnOfIdle(patterns.tables ?? [], snapshot, output);
        isWarned = true;
        const slot = watchSlot(url, remembered.slot);
        const verdict = await compareAll(store, snapshot, { startMs, waitMs, isCapturing: slot.isActive }, output).finally(slot.close);
        if (verdict !== 'not-yet') return verdict;
      } finally {
        await snapshot.close();
      }
    }
  } finally {
    await store.close();
  }
}

/** As `capture` warns: an exclusion without a table is a precaution, an inclusion without one a slip. */
function warnOfIdle(patterns: readonly string[], { tables }: SourceSnapshot, output: Output): void {
  const idle = patterns.filter((pattern) => {
    if (pattern.startsWith('!')) return false;
    const fits = tableMatcher([pattern]);
    return !tables.some(({ schema, name }) => fits(schema, name));
  });
  if (idle.length > 0)
    output.logger.warn({ patterns: idle.join(', ') }, 'no table that is compared fits these patterns of the tables option');
}

/** How long the files are waited for, from when on, and whether anybody writes them. */
interface Patience {
  readonly startMs: number;
  readonly waitMs: number;
  isCapturing(): Promise<boolean>;
}

/**
 * Compares every table with the database as it is in `snapshot`. `not-yet`: the capture took its own snapshot of some table later than that, so that the
 * files do not have the table at this place in the stream, and there is time left to look at a later one.
 *
 * Files that lag can be identical nevertheless, when nothing was changed in between; so where nobody captures they are compared soon. Only when
 * something differs then is it waited for that a capture comes (again): one that is started anew or backs off is no reason to call rows different.
 */
async function compareAll(store: ObjectStore, snapshot: SourceSnapshot, patience: Patience, output: Output): Promise<ExitCode | 'not-yet'> {
  const upTo = snapshot.consistentPoint - 1n;
  for (let isLast = false; ; isLast = true) {
    const lag = await waitForCheckpoint(store, upTo, isLast ? IDLE_MS_MAX : IDLE_MS_BEFORE_LOOKING, patience, output);
    const mayWait = !isLast && lag !== 0n && !isOver(patience);
    // Without a checkpoint there is nothing to compare yet.
    if (lag === null && mayWait) continue;
    if (lag === null) {
      throw new MillraceError('MR_TARGET_LAGS', {
        uri: store.uri,
        checkpoint: 'not there yet',
        needed: upTo,
        wait: formatDuration(systemClock.now() - patience.startMs),
      });
    }
    const target = await StoredTarget.open(store, upTo);
    const begunLater = snapshot.tables.filter(({ schema, name }) => target.beginsLater({ schema, table: name }));
    if (begunLater.length > 0 && lag === 0n && !isOver(patience)) {
      output.say('the snapshot of some tables was taken later: waiting for it', {
        tables: begunLater.map(({ schema, name }) => `${schema}.${name}`).join(', '),
      });
      return 'not-yet';
    }
    const lines: string[] = [];
    let different = 0;
    for (const table of snapshot.tables.toSorted(byName)) {
      const verdict = await verdictOf(table, target, snapshot, begunLater.includes(table), lag);
      if (!verdict.isIdentical) different++;
      if (different > 0 && mayWait) break;
      const word = verdict.isIdentical ? 'identical' : 'different';
      const { sourceRows, rebuiltRows, firstDifference } = verdict;
      lines.push([oneLine(`${table.schema}.${table.name}`), word, sourceRows, rebuiltRows, firstDifference].join('\t'));
    }
    if (different > 0 && mayWait) {
      output.say('the files differ, lag, and nobody captures: waiting for a capture', { lag: String(lag) });
      continue;
    }
    sayLag(lag, upTo, different === 0, output);
    for (const line of lines) await output.line(line);
    if (different > 0 && lag > 0n)
      output.say('the files are behind the database: what is not captured yet counts as different', { lag: String(lag) });
    return different === 0 ? 0 : 1;
  }
}

async function verdictOf(
  table: Table,
  target: StoredTarget,
  snapshot: SourceSnapshot,
  isBegunLater: boolean,
  lag: bigint,
): Promise<Verdict> {
  const decoder = target.decoderOf(target.format?.protocol === 'csv' ? '.csv' : '.json');
  const { rebuilt, lack } = await rebuiltOf(table, target);
  const verdict = await compareTable(table, rebuilt, snapshot.rows(table), decoder.fromSourceText);
  if (verdict.isIdentical) return verdict;
  if (lack !== '') return { ...verdict, firstDifference: lack };
  const difference = isBegunLater ? "the table's snapshot is not complete at the target yet" : verdict.firstDifference;
  return { ...verdict, firstDifference: lag === 0n ? difference : `${difference} (the files are ${lag} bytes of WAL behind)` };
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
 * Behind a capture that has drained there is a lag all the same: PostgreSQL writes a record of 56 bytes whenever such a snapshot is opened. It holds no change,
 * but what else stands in the WAL is not looked at: that no row differs is what is known.
 */
function sayLag(lag: bigint, upTo: bigint, isIdentical: boolean, output: Output): void {
  const behind = `the files are ${lag} bytes of WAL behind the database`;
  const harmless = `the files are caught up: no row of these tables differs. Behind their checkpoint are ${lag} bytes of WAL; each verify adds some when it opens its snapshot`;
  output.say(lag === 0n ? 'the files are at the snapshot of the database' : isIdentical ? harmless : behind, {
    checkpointTs: String(upTo - lag),
    snapshotTs: String(upTo),
  });
}

function isOver({ startMs, waitMs }: Patience): boolean {
  return systemClock.now() - startMs >= waitMs;
}

const POLL_MS = 250;
const POLLS_BEFORE_SAYING = 5;
/** A slot that nobody reads for so long means that nobody captures at the moment: time to look whether the files are identical as they are. */
const IDLE_MS_BEFORE_LOOKING = 1_000;
/** And for so long, that nobody will: a capture that lost its connection tries again after 10 s at the latest, and one that is restarted is there sooner. */
const IDLE_MS_MAX = 12_000;

/**
 * Waits until the target's checkpoint is at `needed`, as long as there is time and somebody captures, or did less than `idleMs` ago. Resolves to how far
 * it is behind; null when there is no checkpoint.
 */
async function waitForCheckpoint(
  store: ObjectStore,
  needed: bigint,
  idleMs: number,
  patience: Patience,
  output: Output,
): Promise<bigint | null> {
  const beginMs = systemClock.now();
  let activeMs = beginMs;
  let seenTs: bigint | null = null;
  for (let poll = 0; ; poll++) {
    const isCapturing = await patience.isCapturing();
    const checkpointTs = await checkpointOf(store);
    const nowMs = systemClock.now();
    // A slot can be let go for a moment: a checkpoint that moves tells of a capture, too.
    if (isCapturing || (poll > 0 && checkpointTs !== seenTs)) activeMs = nowMs;
    seenTs = checkpointTs;
    const lag = checkpointTs === null ? null : needed > checkpointTs ? needed - checkpointTs : 0n;
    if (lag === 0n || nowMs - activeMs >= idleMs || isOver(patience)) return lag;
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
