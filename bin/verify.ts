import { Command } from 'commander';
import { METADATA_PATH, parseMetadata } from '../lib/formats/storage-layout/index.ts';
import { formatDuration, isMillraceError, MillraceError, parseDurationMs, systemClock } from '../lib/index.ts';
import { openSnapshot, type SourceSnapshot } from '../lib/sources/postgres/index.ts';
import { checkName } from '../lib/sources/postgres/options.ts';
import type { ObjectStore } from '../lib/stores/index.ts';
import { rebuildTable, StoredTarget } from '../pipelines/index.ts';
import { compareTable } from './compare-tables.ts';
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
    for (;;) {
      const remembered = await sourceOf(store);
      await checkSource(url, store.uri, remembered);
      // The snapshot comes first: whatever is committed while it is waited for does not count, in the database or in the files.
      const snapshot = await openSnapshot(url, { publication: publication ?? remembered.publication, ...patterns, logger: output.logger });
      try {
        startMs ??= systemClock.now();
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

/** How long the files are waited for, from when on, and whether anybody writes them. */
interface Patience {
  readonly startMs: number;
  readonly waitMs: number;
  isCapturing(): Promise<boolean>;
}

/**
 * Compares every table with the database as it is in `snapshot`. `not-yet`: the capture took its own snapshot of some table later than that, so that the
 * files do not have the table at this place in the stream, and there is time left to look at a later one.
 */
async function compareAll(store: ObjectStore, snapshot: SourceSnapshot, patience: Patience, output: Output): Promise<ExitCode | 'not-yet'> {
  const upTo = snapshot.consistentPoint - 1n;
  const lag = await waitForCheckpoint(store, upTo, patience, output);
  const target = await StoredTarget.open(store, upTo);
  const begunLater = snapshot.tables.filter(({ schema, name }) => target.beginsLater({ schema, table: name }));
  if (begunLater.length > 0 && lag === 0n && !isOver(patience)) {
    output.say('the snapshot of some tables was taken later: waiting for it', {
      tables: begunLater.map(({ schema, name }) => `${schema}.${name}`).join(', '),
    });
    return 'not-yet';
  }
  const decoder = target.decoderOf(target.format?.protocol === 'csv' ? '.csv' : '.json');
  let different = 0;
  for (const table of snapshot.tables.toSorted(byName)) {
    const { schema, name } = table;
    const rebuilt = await rebuildTable(target, { schema, table: name }).catch((error: unknown) => {
      if (isMillraceError(error, 'MR_UNKNOWN_TABLE')) return null;
      throw error;
    });
    const verdict = await compareTable(table, rebuilt, snapshot.rows(table), decoder.fromSourceText);
    if (!verdict.isIdentical) different++;
    const { sourceRows, rebuiltRows } = verdict;
    const word = verdict.isIdentical ? 'identical' : 'different';
    const firstDifference = begunLater.includes(table) ? "the table's snapshot is not complete at the target yet" : verdict.firstDifference;
    await output.line([oneLine(`${schema}.${name}`), word, sourceRows, rebuiltRows, firstDifference].join('\t'));
  }
  if (different > 0 && lag > 0n)
    output.say('the files are behind the database: what is not captured yet counts as different', { lag: String(lag) });
  return different === 0 ? 0 : 1;
}

function isOver({ startMs, waitMs }: Patience): boolean {
  return systemClock.now() - startMs >= waitMs;
}

const POLL_MS = 250;
/** Polls after which a slot that nobody reads means that nobody captures. */
const IDLE_POLLS_MAX = 4;

/**
 * Waits until the target's checkpoint is at `needed`, as long as there is time, and not at all when nobody captures. Resolves to how far it is behind;
 * files that lag can be identical nevertheless, when nothing was changed in between.
 */
async function waitForCheckpoint(store: ObjectStore, needed: bigint, patience: Patience, output: Output): Promise<bigint> {
  let idlePolls = 0;
  for (let poll = 0; ; poll++) {
    idlePolls = (await patience.isCapturing()) ? 0 : idlePolls + 1;
    const checkpointTs = await checkpointOf(store);
    const lag = checkpointTs === null ? null : needed > checkpointTs ? needed - checkpointTs : 0n;
    if (lag === 0n || idlePolls >= IDLE_POLLS_MAX || isOver(patience)) {
      if (lag === null)
        throw new MillraceError('MR_TARGET_LAGS', {
          uri: store.uri,
          checkpoint: 'not there yet',
          needed,
          wait: formatDuration(patience.waitMs),
        });
      output.say(lag === 0n ? 'the files are at the snapshot of the database' : `the files are ${lag} bytes of WAL behind the database`, {
        checkpointTs: String(checkpointTs),
        snapshotTs: String(needed),
      });
      return lag;
    }
    if (poll % 8 === 0)
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
