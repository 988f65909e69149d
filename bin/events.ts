import { Command } from 'commander';
import { MillraceError, parseDurationMs, systemClock } from '../lib/index.ts';
import { checkName } from '../lib/sources/postgres/options.ts';
import { checkStoreUri, openStore } from '../lib/stores/index.ts';
import { type EventFilter, eventsFromObjects, eventsFromPostgres, type StoredEvent } from '../pipelines/index.ts';
import type { ExitCode } from './exit-code.ts';
import { databaseOption } from './options.ts';
import type { Output } from './output.ts';
import { requireOptions } from './required.ts';

interface EventsOptions {
  readonly from: string;
  readonly schema: string;
  readonly table?: string;
  readonly type?: string;
  readonly since?: string;
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
    .addHelpText(
      'after',
      '\nPrints for each row: {"timestamp":"…","type":"…","event_table":"…","event_id":"…","event_row":n,"event_seq":n,"payload":…,…extra columns}.',
    )
    .action(async (options: EventsOptions) => exit(await printEvents(options, output)));
  return requireOptions(command, ['from']);
}

async function printEvents({ from, schema, table, type, since }: EventsOptions, output: Output): Promise<ExitCode> {
  checkName('schema', schema);
  const filter: EventFilter = {
    ...(table === undefined ? {} : { table }),
    ...(type === undefined ? {} : { types: typesOption(type) }),
    ...(since === undefined ? {} : { sinceNs: sinceOption(since) }),
  };
  let printed = 0;
  const print = async (events: AsyncIterable<StoredEvent>) => {
    for await (const { line } of events) {
      await output.line(line);
      printed++;
    }
  };
  if (/^postgres(?:ql)?:/i.test(from)) {
    await print(eventsFromPostgres({ url: databaseOption(from), schema, clock: systemClock }, filter));
  } else {
    checkStoreUri(from);
    const store = await openStore(from, systemClock, 'read');
    await print(eventsFromObjects(store, filter)).finally(() => store.close());
  }
  if (printed === 0) output.logger.warn({}, 'there are no such events');
  return 0;
}

function typesOption(text: string): string[] {
  const types = text.split(',').map((type) => type.trim());
  if (types.includes('')) throw invalid('type', text, 'types separated by commas, such as started,failed');
  return types;
}

function sinceOption(text: string): bigint {
  const isTime = /^\d{4}-\d{2}-\d{2}/.test(text);
  const ms = isTime ? Date.parse(text) : systemClock.now() - parseDurationMs(text, 'since');
  if (Number.isNaN(ms)) throw invalid('since', text, 'a time such as 2026-11-22T05:00:00Z, or a duration such as 1h');
  const ns = BigInt(Math.round(ms)) * 1_000_000n;
  // Times of events have 64 bits: before the first and behind the last there are none.
  return ns < NS_MIN ? NS_MIN : ns > NS_MAX ? NS_MAX : ns;
}

const NS_MIN = -(2n ** 63n);
const NS_MAX = 2n ** 63n - 1n;

function invalid(option: string, value: string, bound: string): MillraceError {
  return new MillraceError('MR_INVALID_OPTION', { option, value: JSON.stringify(value), bound });
}
