import { dmlEvent, OP_DELETE, OP_INSERT, OP_UPDATE, RowBlockBuilder, type Table } from '../lib/events/index.ts';
import { canalJson } from '../lib/formats/canal-json.ts';
import { csv } from '../lib/formats/csv.ts';
import type { RowEncoder } from '../lib/formats/encoder.ts';
import { MessageKind, PgoutputReader } from '../lib/formats/pgoutput/index.ts';
import { type EncodedRows, eventEncoder } from '../pipelines/cloud-storage-sink/rows/encoded-rows.ts';
import { SegmentPool } from '../pipelines/cloud-storage-sink/rows/segment-pool.ts';
import { benchTable } from './bench-table.ts';
import { type Messages, makeMessages, POSTGRES_EPOCH_US } from './pgoutput-messages.ts';
import { median } from './stats.ts';

const ROUNDS = 5;
const WARM_UP_ROUNDS = 2;
const ROWS = 100_000;
const ROWS_PER_BLOCK = 2000;
const SEGMENTS_BYTES = 4 * 1024 * 1024;
const NOW_MS = 1_700_000_000_123;

const TABLE = benchTable();

export interface FormatResult {
  readonly name: string;
  readonly usPerRow: number;
  /** How many times as long the naive path takes; null for a naive path itself. */
  readonly ratio: number | null;
}

/**
 * (a): pgoutput messages to canal-json and to csv, by Millrace's reader and encoders and by the naive paths: each row decoded into an object, then
 * `JSON.stringify` of canal-json's shape, or fields joined. Half inserts, half updates. Medians of five alternating rounds, after two to warm up,
 * of the process's CPU time, which other processes disturb less than the clock.
 */
export function measureFormats(): FormatResult[] {
  const messages = makeMessages(ROWS);
  const variants: Readonly<Record<string, () => number>> = {
    'canal-json': () => runMillrace(messages, canalJson({ now: () => NOW_MS })),
    'canal-json, naive': () => runNaive(messages, naiveCanalJson),
    csv: () => runMillrace(messages, csv()),
    'csv, naive': () => runNaive(messages, naiveCsv),
  };
  checkEqual(messages);
  const times = new Map<string, number[]>(Object.keys(variants).map((name) => [name, []]));
  for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
    for (const [name, run] of Object.entries(variants)) {
      const start = process.cpuUsage();
      run();
      const { user, system } = process.cpuUsage(start);
      if (round >= WARM_UP_ROUNDS) times.get(name)!.push((user + system) / ROWS);
    }
  }
  const medians = new Map([...times].map(([name, values]) => [name, median(values)]));
  return [...medians].map(([name, usPerRow]) => {
    const naive = medians.get(`${name}, naive`);
    return { name, usPerRow, ratio: naive === undefined ? null : naive / usPerRow };
  });
}

/** The results as a Markdown table. */
export function formats(): string {
  const lines = measureFormats().map(({ name, usPerRow, ratio }) => {
    const target = name === 'csv' ? 5 : 8;
    const verdict = ratio === null ? '' : `${ratio.toFixed(1)}× (asked: ≥ ${target}×)`;
    return `| ${name} | ${usPerRow.toFixed(2)} | ${Math.round(1e6 / usPerRow).toLocaleString('en')} | ${verdict} |`;
  });
  return [
    '### (a) pgoutput bytes to rows of a format',
    '',
    '| variant | CPU µs/row | rows/s of one core | of the naive path |',
    '|---|--:|--:|--:|',
    ...lines,
    '',
  ].join('\n');
}

/** As source and sink do it: messages are checked and pointed at, blocks are encoded into segments, which come back when they are written. */
function runMillrace({ bytes, starts }: Messages, encoder: RowEncoder, sink?: (text: string) => void): number {
  const reader = new PgoutputReader();
  const builder = new RowBlockBuilder(ROWS_PER_BLOCK);
  const segments = new SegmentPool(SEGMENTS_BYTES);
  const encode = eventEncoder(encoder, segments);
  let ordinal = 0;
  let written = 0;
  const flush = () => {
    const rows = encode(dmlEvent(builder.build(TABLE, bytes))) as EncodedRows;
    written += rows.bytes;
    sink?.(Buffer.concat(rows.body).toString());
    segments.release(rows.body);
  };
  for (let i = 0; i + 1 < starts.length; i++) {
    const kind = reader.read(bytes, starts[i]!, starts[i + 1]!);
    if (kind === MessageKind.begin) {
      builder.beginTransaction(reader.finalLsn, reader.commitTimeUs);
      ordinal = 0;
      continue;
    }
    builder.append(reader.op, reader.rowAt, ordinal++);
    if (builder.rowCount === ROWS_PER_BLOCK) flush();
  }
  if (builder.rowCount > 0) flush();
  return written;
}

interface NaiveRow {
  readonly op: number;
  readonly commitTs: bigint;
  readonly commitMs: number;
  readonly values: Record<string, string | null>;
}

type NaiveFormat = (row: NaiveRow, table: Table) => string;

function runNaive({ bytes, starts }: Messages, format: NaiveFormat, sink?: (text: string) => void): number {
  let commitTs = 0n;
  let commitMs = 0;
  let written = 0;
  let rows: string[] = [];
  const flush = () => {
    const body = Buffer.from(rows.join(''));
    written += body.length;
    sink?.(body.toString());
    rows = [];
  };
  for (let i = 0; i + 1 < starts.length; i++) {
    const message = bytes.subarray(starts[i]!, starts[i + 1]!);
    if (message[0] === MessageKind.begin) {
      commitTs = message.readBigUInt64BE(1);
      commitMs = Number((message.readBigInt64BE(9) + POSTGRES_EPOCH_US) / 1000n);
      continue;
    }
    const values: Record<string, string | null> = {};
    let at = 8;
    for (const { name } of TABLE.columns) {
      if (message[at++] !== 0x74) {
        values[name] = null;
        continue;
      }
      const length = message.readUInt32BE(at);
      values[name] = message.toString('utf8', at + 4, at + 4 + length);
      at += 4 + length;
    }
    rows.push(format({ op: message[0]!, commitTs, commitMs, values }, TABLE));
    if (rows.length === ROWS_PER_BLOCK) flush();
  }
  if (rows.length > 0) flush();
  return written;
}

const SQL_TYPE = { id: -5, customer: 2005, amount: 3, status: 12, created: 93, note: 2005 };
const MYSQL_TYPE = { id: 'bigint', customer: 'longtext', amount: 'decimal', status: 'varchar', created: 'timestamp', note: 'longtext' };
const OP_NAMES: Readonly<Record<number, string>> = { [OP_INSERT]: 'INSERT', [OP_UPDATE]: 'UPDATE', [OP_DELETE]: 'DELETE' };

function naiveCanalJson({ op, commitTs, commitMs, values }: NaiveRow, table: Table): string {
  return `${JSON.stringify({
    id: 0,
    database: table.schema,
    table: table.name,
    pkNames: ['id'],
    isDdl: false,
    type: OP_NAMES[op],
    es: commitMs,
    ts: NOW_MS,
    sql: '',
    sqlType: SQL_TYPE,
    mysqlType: MYSQL_TYPE,
    old: op === OP_INSERT ? null : [{}],
    data: [values],
    _tidb: { commitTs: Number(commitTs) },
  })}\r\n`;
}

function naiveCsv({ op, commitTs, values }: NaiveRow, table: Table): string {
  const fields = [quoted(String.fromCharCode(op)), quoted(table.name), quoted(table.schema), String(commitTs)];
  for (const { name, type } of table.columns) {
    const value = values[name]!;
    fields.push(value === null ? '\\N' : type === 'int8' ? value : quoted(value));
  }
  return `${fields.join(',')}\r\n`;
}

function quoted(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}

/** Both paths must write the same, else the comparison says nothing. */
function checkEqual(messages: Messages): void {
  for (const [encoder, naive] of [
    [canalJson({ now: () => NOW_MS }), naiveCanalJson],
    [csv(), naiveCsv],
  ] as const) {
    const ours: string[] = [];
    const theirs: string[] = [];
    runMillrace(messages, encoder, (text) => ours.push(text));
    runNaive(messages, naive, (text) => theirs.push(text));
    if (ours.join('') !== theirs.join('')) throw new Error(`${encoder.extension}: Millrace and the naive path write different bytes`);
  }
}
