import { Command, Option } from 'commander';
import {
  definePipeline,
  fileCheckpoint,
  MillraceError,
  parseBytes,
  parseDurationMs,
  type Running,
  type RunSummary,
  run,
} from '../lib/index.ts';
import { metricsAddress } from '../lib/runtime/metrics-server.ts';
import { postgres } from '../lib/sources/postgres/index.ts';
import { cloudStorage } from '../pipelines/index.ts';
import type { ExitCode } from './exit-code.ts';
import { databaseOption, folderOption, isDatabase, patternsOption } from './options.ts';
import type { Output } from './output.ts';
import { showProgress } from './progress.ts';
import { type Recording, recordingTo } from './recording.ts';
import { refuseIdleOptions, requireOptions } from './required.ts';
import { drainOnSignals } from './signals.ts';

interface CaptureOptions {
  readonly from: string;
  readonly to: string;
  readonly tables?: string;
  readonly protocol: string;
  readonly slot: string;
  readonly publication: string;
  readonly snapshot: 'initial' | 'never';
  readonly state: string;
  readonly flushInterval?: string;
  readonly fileSize?: string;
  readonly maxWal?: string;
  readonly ddlText?: true;
  readonly untilCaughtUp?: true;
  readonly drainTimeout: string;
  readonly resnapshot?: string;
  readonly metricsPort?: string;
  readonly events?: string;
  readonly eventsSchema: string;
  readonly slowThreshold: string;
  readonly slowSample: string;
}

/** `millrace capture`: a database's rows, then its changes, into files, until it is stopped. */
export function captureCommand(output: Output, exit: (code: ExitCode) => void): Command {
  const command = new Command('capture')
    .description('Copies the tables of a PostgreSQL database, then their changes as they are committed, into files.')
    .option('--from <url>', 'the database: postgres://user:password@host/database (required)')
    .option('--to <uri>', 'the target: file:///dir or s3://bucket/prefix; options of the sink may follow as ?name=value (required)')
    .option('--tables <patterns>', "tables to capture, such as 'public.*,!public.tmp_*' (default: every user table)")
    .addOption(new Option('--protocol <name>', 'the row format').choices(['canal-json', 'csv']).default('canal-json'))
    .option('--slot <name>', 'the replication slot', 'millrace')
    .option('--publication <name>', 'the publication', 'millrace')
    .addOption(
      new Option('--snapshot <when>', 'whether the rows that are there are copied first').choices(['initial', 'never']).default('initial'),
    )
    .option('--state <dir>', 'the folder of the checkpoint', './.millrace')
    .option('--flush-interval <duration>', 'a file is written this long after its first row (default: 5s)')
    .option(
      '--file-size <size>',
      'a file is written when it has reached this size; it exceeds it by less than a block of rows, mostly 1 to 10 MiB (default: 64MiB)',
    )
    .option('--max-wal <size>', 'warn when the slot retains more WAL than this (default: 10GiB)')
    .option('--ddl-text', 'the text of schema changes comes with them, by event triggers (see millrace ddl-text)')
    .option('--until-caught-up', 'stop, drained, once what the database had at the start is flushed')
    .option('--drain-timeout <duration>', 'fail when a stop takes longer than this', '60s')
    .option('--metrics-port <port>', 'serve /metrics (Prometheus) and /healthz at this port of 127.0.0.1, or at host:port')
    .option(
      '--events <uri>',
      'record what happens to the run: to postgres://user:password@host/database, file:///dir, s3://bucket/prefix, or stdout',
    )
    .option('--events-schema <name>', 'with --events to a database: the schema of the tables of events', 'public')
    .option('--slow-threshold <duration>', 'with --events: an operation that takes longer is recorded', '30s')
    .option('--slow-sample <ratio>', 'with --events: which part of the slow operations is recorded, 0 to 1', '1')
    .option('--resnapshot <tables>', 'tables to copy anew, such as public.orders')
    .addHelpText(
      'after',
      '\nSIGINT and SIGTERM flush what was accepted and exit 0; a second one exits at once, 1.\nPrints, at the end: table <TAB> rows <TAB> files <TAB> bytes written.',
    )
    .action(async (options: CaptureOptions) => exit(await capture(options, output)));
  return refuseIdleOptions(requireOptions(command, ['from', 'to']), [
    {
      name: 'events-schema',
      bound: 'given with --events postgres://…: only a database has schemas',
      isOfUse: ({ events }: CaptureOptions) => events !== undefined && isDatabase(events),
    },
    ...['slow-threshold', 'slow-sample'].map((name) => ({
      name,
      bound: 'given with --events: without it nothing is recorded',
      isOfUse: ({ events }: CaptureOptions) => events !== undefined,
    })),
  ]);
}

async function capture(options: CaptureOptions, output: Output): Promise<ExitCode> {
  const { from, to, tables, protocol, slot, publication, snapshot, flushInterval, fileSize, maxWal, resnapshot, metricsPort } = options;
  if (metricsPort !== undefined) metricsAddress(metricsPort, 'metrics-port');
  const drainTimeoutMs = parseDurationMs(options.drainTimeout, 'drain-timeout');
  const url = databaseOption(from);
  const slow = {
    slowThreshold: parseDurationMs(options.slowThreshold, 'slow-threshold'),
    slowSampleRatio: ratioOption(options.slowSample),
  };
  const record = options.events === undefined ? null : recordingTo({ to: options.events, schema: options.eventsSchema }, output);
  const source = postgres({
    url,
    slot,
    publication,
    snapshot,
    ...(tables === undefined ? {} : { tables: patternsOption(tables, 'tables') }),
    ...(maxWal === undefined ? {} : { maxWal: parseBytes(maxWal, 'max-wal', { min: 1 }) }),
    ...(options.ddlText ? { ddlText: true } : {}),
    ...(resnapshot === undefined ? {} : { resnapshot: patternsOption(resnapshot, 'resnapshot') }),
  });
  const sink = cloudStorage({
    uri: to,
    protocol,
    ...(flushInterval === undefined ? {} : { flushInterval }),
    ...(fileSize === undefined ? {} : { fileSize }),
  });
  const definition = definePipeline({
    name: slot,
    source,
    stages: [],
    sink,
    checkpoint: fileCheckpoint(folderOption(options.state, 'state')),
  });
  const recorded = (await record?.()) ?? null;
  const running = run(definition, {
    logger: output.logger,
    drainTimeoutMs,
    ...(metricsPort === undefined ? {} : { metricsPort }),
    ...(recorded === null ? {} : { events: recorded.events, ...slow }),
    ...(options.untilCaughtUp ? { until: 'caught-up' as const } : {}),
  });
  const hideProgress = showProgress(running, output);
  const releaseSignals = drainOnSignals(running, output);
  try {
    const summary = await endOf(running, recorded, hideProgress);
    for (const [table, { rows, files, bytes }] of Object.entries(summary.tables)) await output.line([table, rows, files, bytes].join('\t'));
    const isIncomplete = options.untilCaughtUp === true && Object.values(summary.tables).some(({ stopped }) => stopped);
    return isIncomplete ? 1 : 0;
  } finally {
    releaseSignals();
  }
}

/** What a run tells last is told when it has ended, well or not: its events are delivered before anything else is printed. */
async function endOf(running: Running, recording: Recording | null, hideProgress: () => void): Promise<RunSummary> {
  try {
    return await running.done;
  } finally {
    hideProgress();
    await recording?.close();
  }
}

function ratioOption(text: string): number {
  const ratio = text.trim() === '' ? Number.NaN : Number(text);
  if (ratio >= 0 && ratio <= 1) return ratio;
  throw new MillraceError('MR_INVALID_OPTION', { option: 'slow-sample', value: JSON.stringify(text), bound: 'a number from 0 to 1' });
}
