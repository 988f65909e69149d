import { Command } from 'commander';
import { MillraceError, parseDurationMs, systemClock } from '../lib/index.ts';
import { checkName } from '../lib/sources/postgres/options.ts';
import { openStore } from '../lib/stores/index.ts';
import { printedLine } from '../pipelines/event-recorder/handlers/event-line.ts';
import { type EventFilter, eventsFromObjects, eventsFromPostgres, type StoredEvent } from '../pipelines/index.ts';
import type { ExitCode } from './exit-code.ts';
import { followEvents } from './follow-events.ts';
import { checkEventFiles, databaseOption, isDatabase } from './options.ts';
import type { Output } from './output.ts';
import { FOLLOW_INTERVAL, refuseIdleOptions, requireOptions } from './required.ts';
import { stopOnSignals } from './signals.ts';

interface EventsOptions {
  readonly from: string;
  readonly schema: string;
  readonly table?: string;
  readonly type?: string;
  readonly since?: string;
  readonly follow?: true;
  readonly interval: string;
}

/** `millrace events`: what an event recorder's handlers wrote, as JSON lines. */
export function eventsCommand(output: Output, exit: (code: ExitCode) => void): Command {
  const command = new Command('events')
    .description('Prints recorded events as JSON lines, in the order of their time, each once.')
    .option('--from <uri>', 'where they are: postgres://user:password@host/database, file:///dir or s3://bucket/prefix (required)')
    .option('--schema <name>', 'in a database: the schema of the tables of events', 'public')
    .option('--table <name>', 'only of this table, such as events (default: all)')
    .option('--type <types>', 'only of these types, separated by commas (default: all)')
    .option('--since <time>', 'only from then on: a time such as 2026-11-22T05:00:00Z, or a duration before now such as 1h or 7d')
    .option('--follow', 'goes on printing what comes, until it is stopped')
    .option('--interval <duration>', 'with --follow: how often to look', '1s')
    .addHelpText(
      'after',
      '\nPrints for each row: {"timestamp":"…","type":"…","event_table":"…","event_id":"…","event_row":n,"event_seq":"n","payload":…,…extra columns}.',
    )
    .action(async (options: EventsOptions) => exit(await printEvents(options, output)));
  return refuseIdleOptions(requireOptions(command, ['from']), [
    {
      name: 'schema',
      bound: 'given with --from postgres://…: only a database has schemas',
      isOfUse: ({ from }: EventsOptions) => isDatabase(from),
    },
    FOLLOW_INTERVAL,
  ]);
}

async function printEvents({ from, schema, table, type, since, follow, interval }: EventsOptions, output: Output): Promise<ExitCode> {
  checkName('schema', schema);
  const intervalMs = parseDurationMs(interval, 'interval', { min: INTERVAL_MS_MIN });
  const filter: EventFilter = {
    ...(table === undefined ? {} : { table }),
    ...(type === undefined ? {} : { types: typesOption(type) }),
    ...(since === undefined ? {} : { sinceNs: sinceOption(since) }),
  };
  const place = await openPlace(from, schema);
  const stop = follow === true ? stopOnSignals() : null;
  try {
    const { sinceNs } = filter;
    const read = (fromNs: bigint | undefined) => place.read({ ...filter, ...(fromNs === undefined ? {} : { sinceNs: fromNs }) });
    const events = stop === null ? read(sinceNs) : followEvents({ read, sinceNs, intervalMs, clock: systemClock, signal: stop.signal });
    let printed = 0;
    for await (const event of events) {
      await output.line(printedLine(event.line, event.seq));
      printed++;
    }
    if (printed === 0 && stop === null) output.logger.warn({}, 'there are no such events');
    return 0;
  } finally {
    stop?.release();
    await place.close();
  }
}

const INTERVAL_MS_MIN = 100;

async function openPlace(from: string, schema: string): Promise<EventsPlace> {
  if (isDatabase(from)) {
    const url = databaseOption(from);
    return { read: (filter) => eventsFromPostgres({ url, schema, clock: systemClock }, filter), close: async () => {} };
  }
  checkEventFiles(from, 'from');
  const store = await openStore(from, systemClock, 'read');
  return { read: (filter) => eventsFromObjects(store, filter), close: () => store.close() };
}

interface EventsPlace {
  read(filter: EventFilter): AsyncIterable<StoredEvent>;
  close(): Promise<void>;
}

function typesOption(text: string): string[] {
  const types = text.split(',').map((type) => type.trim());
  if (types.includes('')) throw invalid('type', text, 'types separated by commas, such as started,failed');
  return types;
}

function sinceOption(text: string): bigint {
  const ms = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : timeBefore(text);
  if (Number.isNaN(ms)) throw invalid('since', text, SINCE_FORMS);
  const ns = BigInt(Math.round(ms)) * 1_000_000n;
  // Times of events have 64 bits: before the first and behind the last there are none.
  return ns < NS_MIN ? NS_MIN : ns > NS_MAX ? NS_MAX : ns;
}

function timeBefore(duration: string): number {
  try {
    return systemClock.now() - parseDurationMs(duration, 'since');
  } catch {
    return Number.NaN;
  }
}

const SINCE_FORMS =
  'a date or a time such as 2026-11-22, 2026-11-22T05:00:00Z or 2026-11-22T05:00:00+02:00, or a duration before now such as 90s, 5m, 1h30m or 7d';
const NS_MIN = -(2n ** 63n);
const NS_MAX = 2n ** 63n - 1n;

function invalid(option: string, value: string, bound: string): MillraceError {
  return new MillraceError('MR_INVALID_OPTION', { option, value: JSON.stringify(value), bound });
}
