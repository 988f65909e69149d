import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { Command } from 'commander';
import { reasonOf } from '../lib/errors.ts';
import { formatPosition, tableMatcher } from '../lib/events/index.ts';
import { MillraceError, parseDurationMs, systemClock } from '../lib/index.ts';
import { makeFolderDurably, replaceDurably } from '../lib/stores/durable-file.ts';
import type { ObjectStore } from '../lib/stores/index.ts';
import { systemCode } from '../lib/stores/system-code.ts';
import { type Change, StoredTarget, TargetReader } from '../pipelines/index.ts';
import type { ExitCode } from './exit-code.ts';
import { patternsOption } from './options.ts';
import type { Output } from './output.ts';
import { FOLLOW_INTERVAL, refuseIdleOptions, requireOptions } from './required.ts';
import { stopOnSignals } from './signals.ts';
import { openTarget } from './target.ts';

interface ReadCommandOptions {
  readonly to: string;
  readonly table?: string;
  readonly cursor?: string;
  readonly follow?: boolean;
  readonly interval: string;
}

/** `millrace read`: the changes in a target as JSON lines. */
export function readCommand(output: Output, exit: (code: ExitCode) => void): Command {
  const command = new Command('read')
    .description("Prints a target's changes as JSON lines: in position order per table, each once, up to the target's checkpoint.")
    .option('--to <uri>', 'the target: file:///dir or s3://bucket/prefix (required)')
    .option('--table <table>', 'only this table, such as public.orders')
    .option('--cursor <file>', 'remembers there what was printed, and begins behind it')
    .option('--follow', 'goes on printing what comes, until it is stopped')
    .option('--interval <duration>', 'with --follow: how often to look', '2s')
    .action(async (options: ReadCommandOptions) => exit(await read(options, output)));
  return refuseIdleOptions(requireOptions(command, ['to']), [FOLLOW_INTERVAL]);
}

async function read({ to, table, cursor: cursorPath, follow, interval }: ReadCommandOptions, output: Output): Promise<ExitCode> {
  const patterns = table === undefined ? undefined : patternsOption(table, 'table');
  const intervalMs = parseDurationMs(interval, 'interval', { min: INTERVAL_MS_MIN });
  const cursor = cursorPath === undefined ? null : await readCursor(cursorPath);
  const store = await openTarget(to);
  const stop = follow === true ? stopOnSignals() : null;
  try {
    const reader = new TargetReader(store, { cursor, ...(patterns && { tables: patterns }) });
    for (;;) {
      const parts = await printRound(reader, output, stop?.signal);
      if (parts > 0 && cursorPath !== undefined) await writeCursor(cursorPath, reader.cursor);
      if (parts === 0 && stop === null) await explain(store, patterns, output);
      if (stop === null || stop.signal.aborted) return 0;
      await systemClock.sleep(intervalMs, stop.signal);
    }
  } finally {
    stop?.release();
    await store.close();
  }
}

const INTERVAL_MS_MIN = 100;

/** Prints what is new. Resolves to the number of parts when all of them have left the process. */
async function printRound(reader: TargetReader, output: Output, signal: AbortSignal | undefined): Promise<number> {
  let parts = 0;
  for await (const { schema, table, changes, removedUpTo } of reader.poll()) {
    if (removedUpTo !== undefined) {
      const details = { table: `${schema}.${table}`, removedUpTo: formatPosition(removedUpTo) };
      output.logger.warn(details, 'clean-up has removed older changes of this table: what is printed begins behind them');
    }
    if (changes.length > 0) await output.line(changes.map(jsonOf).join('\n'));
    parts++;
    if (signal?.aborted) break;
  }
  if (parts > 0) await output.end();
  return parts;
}

/** Says why nothing came, where nothing can: there is no checkpoint yet, or no such table. */
async function explain(store: ObjectStore, patterns: readonly string[] | undefined, output: Output): Promise<void> {
  const target = await StoredTarget.open(store);
  if (target.checkpointTs === null) output.logger.warn({ uri: store.uri }, 'the target has no checkpoint yet, so it shows nothing');
  if (patterns === undefined) return;
  const isChosen = tableMatcher(patterns, 'table');
  const tables = target.tables();
  if (tables.some(({ schema, table }) => isChosen(schema, table))) return;
  const known = tables.map(({ schema, table }) => `${schema}.${table}`).join(', ');
  const checkpoint = target.checkpointTs ?? 'none yet';
  const table = patterns.join(',');
  throw new MillraceError('MR_UNKNOWN_TABLE', { uri: store.uri, table, checkpoint, tables: known === '' ? 'no tables yet' : known });
}

async function readCursor(path: string): Promise<string | null> {
  if (path === '') throw new MillraceError('MR_INVALID_OPTION', { option: 'cursor', value: '""', bound: 'a file, such as ./read.cursor' });
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw new MillraceError('MR_INVALID_OPTION', { option: 'cursor', value: path, bound: `a file (${reasonOf(error)})` }, error);
  }
}

async function writeCursor(path: string, cursor: string): Promise<void> {
  const file = resolve(path);
  try {
    await makeFolderDurably(dirname(file));
    await replaceDurably(file, `${file}.tmp`, [Buffer.from(`${cursor}\n`)]);
  } catch (error) {
    throw new MillraceError('MR_STORE_UNWRITABLE', { path, reason: reasonOf(error) }, error);
  }
}

function jsonOf({ schema, table, op, commitTs, ordinal, old, data }: Change): string {
  return JSON.stringify({ schema, table, op, commitTs: String(commitTs), ordinal, old, data });
}
