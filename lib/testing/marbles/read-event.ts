import type { ColumnValue } from '../../events/index.ts';
import type { Scanner } from './scanner.ts';
import { type ChangeSketch, type EventSketch, KINDS, type Kind, type RowSketch, type TableName, type ValueSketch } from './sketch.ts';

/** What makes the text here an event (or what was meant as one): `kind:`, `res@`, a name in front of `@`, `.` or `>`. */
const EVENT = /[A-Za-z_]\w*:|(?:[\p{L}_][\p{L}\p{M}\p{N}_]*|"(?:[^"]|"")*")[@.>]/uy;
const KIND = /([A-Za-z_]\w*):/y;
const MARK_OF_ALL = /(sync|res)(?=@)/y;
const NAME = /([\p{L}_][\p{L}\p{M}\p{N}_]*)|"((?:[^"]|"")+)"/uy;
/** The names of kinds are no names of tables, unless they are quoted. */
const KIND_FOR_A_TABLE = new RegExp(`(${Object.keys(KINDS).join('|')})(?=[@>])`, 'y');
const PLACE = /(\d+)(?:\.(\d+)(?:\.\.(\d+))?)?/y;
const BARE_VALUE = /[^\s,{}>"]+/y;
const STRING = /"(?:[^"\\]|\\.)*"/y;

const MAX_U64 = (1n << 64n) - 1n;
const MAX_ORDINAL = 2 ** 32 - 1;

/** Whether an event begins here. */
export function looksLikeEvent(scanner: Scanner): boolean {
  return scanner.look(EVENT) !== null;
}

/**
 * The event that begins here; the scanner stands behind it.
 *
 * @throws MR_MARBLES_MALFORMED where it makes no sense.
 */
export function readEvent(scanner: Scanner): EventSketch {
  const ofAll = scanner.take(MARK_OF_ALL);
  if (ofAll !== null) return readMark(scanner, ofAll[1] as 'sync' | 'res', null);
  const start = scanner.at;
  const kinded = scanner.take(KIND);
  if (kinded === null) return readRows(scanner);
  const kind = kinded[1]!;
  if (!isKind(kind))
    scanner.fail(
      `there is no kind of event called ${kind}`,
      `Kinds are ${Object.keys(KINDS).join(', ')}; where acks or resets are expected, enqueued, flushed, reset`,
      start,
    );
  if (kind === 'marker' && scanner.take(/\*/y) !== null) return { kind, table: null, commitTs: 0n, ...readSession(scanner) };
  if ((kind === 'res' || kind === 'sync') && scanner.look(/\*/y) !== null)
    scanner.fail('a table name is missing', `${kind}:users@7 is of one table, ${kind}@7 is of all tables`);
  const table = readTable(scanner);
  switch (kind) {
    case 'ddl':
    case 'truncate': {
      const target = readTarget(scanner);
      requireAt(scanner, `${kind}:${table.name}`);
      const placeAt = scanner.at;
      const { commitTs, first, last } = readPlace(scanner);
      if (last !== null)
        scanner.fail(`${KINDS[kind].meaning} has one position, not a range`, `Write ${kind}:${table.name}@${commitTs}.${first}`, placeAt);
      const version = readVersion(scanner);
      return {
        kind,
        table,
        target,
        commitTs,
        ordinal: first,
        version: version === null || version === commitTs ? null : version,
        ...readSession(scanner),
      };
    }
    case 'sync':
    case 'res':
      return readMark(scanner, kind, table);
    case 'marker':
      return { kind, table, commitTs: 0n, ...readSession(scanner) };
    default: {
      const commitTs = scanner.take(/@/y) === null ? 0n : readCommitTs(scanner);
      return { kind, table, commitTs, ...readSession(scanner) };
    }
  }
}

/** `orders`, `shop.orders`, `"two words"."orders"`. */
export function readTable(scanner: Scanner): TableName {
  const first = readName(scanner);
  return scanner.take(/\./y) === null ? { schema: 'public', name: first } : { schema: first, name: readName(scanner) };
}

function readName(scanner: Scanner): string {
  const match = scanner.take(NAME);
  if (match === null) return scanner.fail('a table name is missing', 'Write a name such as orders, shop.orders, or "two words"');
  return match[1] ?? match[2]!.replaceAll('""', '"');
}

function readTarget(scanner: Scanner): TableName | null {
  return scanner.take(/>/y) === null ? null : readTable(scanner);
}

function readMark(scanner: Scanner, kind: 'sync' | 'res', table: TableName | null): EventSketch {
  requireAt(scanner, table === null ? kind : `${kind}:${table.name}`);
  return { kind, table, commitTs: readCommitTs(scanner), ...readSession(scanner) };
}

function readRows(scanner: Scanner): EventSketch {
  const kind = scanner.look(KIND_FOR_A_TABLE)?.[0];
  if (kind !== undefined)
    scanner.fail(`${kind} is a kind of event`, `Name its table, ${kind}:users@5, or put a table of that name into quotes: "${kind}"@5`);
  const table = readTable(scanner);
  const target = readTarget(scanner);
  requireAt(scanner, table.name);
  const rows: RowSketch[] = [];
  do readRun(scanner, rows);
  while (scanner.take(/\+/y) !== null);
  return { kind: 'rows', table, target, rows, ...readSession(scanner) };
}

/** One transaction's part of a block: `5`, `5.2`, `5.2..4`, `5.2{…}{…}`. */
function readRun(scanner: Scanner, rows: RowSketch[]): void {
  const start = scanner.at;
  const { commitTs, first, last } = readPlace(scanner);
  const before = rows.at(-1);
  if (before !== undefined && (commitTs < before.commitTs || (commitTs === before.commitTs && first < before.ordinal))) {
    scanner.fail('the rows of a block stand in position order', 'Give no row an earlier position than the one before it', start);
  }
  const changes: ChangeSketch[] = [];
  while (scanner.look(/\{/y) !== null) changes.push(readChange(scanner));
  const count = last === null ? Math.max(1, changes.length) : last - first + 1;
  if (changes.length > 0 && changes.length !== count) {
    scanner.fail(
      `${count} rows have ${changes.length} contents`,
      'Give each row of the range its own braces, or leave the range away: a@5.2{…}{…}',
      start,
    );
  }
  for (let row = 0; row < count; row++) rows.push({ commitTs, ordinal: first + row, change: changes[row] ?? null });
}

/** What more rows than this in one range are is a slip. */
const MAX_ROWS = 100_000;

function readPlace(scanner: Scanner): { commitTs: bigint; first: number; last: number | null } {
  const start = scanner.at;
  const match = scanner.take(PLACE);
  if (match === null)
    scanner.fail('a position is missing behind @', 'Write the commitTs, and the ordinal where it is not 0: a@5, a@5.2, a@5.2..4');
  if (match[2] === undefined && scanner.look(/\.\./y) !== null) scanner.fail('a range begins with an ordinal', `Write ${match[1]}.0..`);
  const commitTs = bounded(scanner, 'a commitTs', match[1]!, start);
  const first = Number(match[2] ?? 0);
  const last = match[3] === undefined ? null : Number(match[3]);
  if (first > MAX_ORDINAL || (last ?? 0) > MAX_ORDINAL) scanner.fail(`an ordinal is at most ${MAX_ORDINAL}`, 'Write a smaller one', start);
  if (last !== null && last < first) scanner.fail('the range runs backwards', `Write ${commitTs}.${last}..${first}`, start);
  if (last !== null && last - first >= MAX_ROWS) scanner.fail(`a range has at most ${MAX_ROWS} rows`, 'Write a shorter one', start);
  return { commitTs, first, last };
}

function readCommitTs(scanner: Scanner): bigint {
  const start = scanner.at;
  const match = scanner.take(/(\d+)(\.\d+)?/y);
  if (match === null) scanner.fail('a position is missing behind @', 'Write the commitTs: res@7');
  if (match[2] !== undefined) scanner.fail('this event has a commitTs alone, no ordinal', `Write @${match[1]}`, start);
  return bounded(scanner, 'a commitTs', match[1]!, start);
}

function readVersion(scanner: Scanner): bigint | null {
  const start = scanner.at;
  const match = scanner.take(/v(\d+)/y);
  return match === null ? null : bounded(scanner, 'a version', match[1]!, start);
}

function bounded(scanner: Scanner, what: string, digits: string, start: number): bigint {
  const number = BigInt(digits);
  if (number > MAX_U64) scanner.fail(`${what} has 64 bits`, `Write at most ${MAX_U64}`, start);
  return number;
}

function requireAt(scanner: Scanner, what: string): void {
  if (scanner.take(/@/y) === null) scanner.fail(`${what} has no position`, `Say where it stands: ${what}@5, or ${what}@5.2 for ordinal 2`);
}

function readSession(scanner: Scanner): { epoch: bigint; seq: bigint } {
  const start = scanner.at;
  const match = scanner.take(/#(\d+)(?:\.(\d+))?/y);
  if (match === null) return { epoch: 0n, seq: 0n };
  const [, epoch = '', seq] = match;
  if (seq === undefined)
    return scanner.fail(
      'a session has an epoch and a seq',
      'Write both: a@5#1.4. An error of the stream stands apart by a blank: a@5 #',
      start,
    );
  // The caret stands under the digits.
  return { epoch: bounded(scanner, 'an epoch', epoch, start + 1), seq: bounded(scanner, 'a seq', seq, start + 2 + epoch.length) };
}

/** `{after}`, `{before>after}`, `{>after}`, `{before>}`. */
function readChange(scanner: Scanner): ChangeSketch {
  const start = scanner.at;
  scanner.take(/\{/y);
  const first = readImage(scanner);
  const isChange = scanner.take(/>/y) !== null;
  const second = isChange ? readImage(scanner) : [];
  if (scanner.take(/\}/y) === null) {
    if (scanner.isAtEnd) scanner.fail('this { is never closed', 'Put } behind the last value', start);
    scanner.fail(
      'this belongs to no value',
      'Values are separated by commas; one that holds blanks, commas, braces, > or quotes is a JSON string: {note:"a, b"}',
    );
  }
  if (!isChange) return { before: null, after: first };
  if (first.length + second.length === 0)
    scanner.fail('this change has no image', 'A delete names its key, {id:1>}, an update what is new, {>id:1}', start);
  return { before: first, after: second.length === 0 ? null : second };
}

function readImage(scanner: Scanner): ValueSketch[] {
  const image: ValueSketch[] = [];
  scanner.skipBlanks();
  if (scanner.look(/[>}]/y) !== null) return image;
  do {
    scanner.skipBlanks();
    const start = scanner.at;
    const column = scanner.take(/[A-Za-z_]\w*/y)?.[0] ?? readString(scanner);
    if (column === null) scanner.fail('a column name is missing', 'Write column:value, such as {id:1,email:ann}');
    scanner.skipBlanks();
    if (scanner.take(/:/y) === null)
      scanner.fail(`column ${column} has no value`, `Write ${column}:value; null is null, ? an unchanged TOAST value`);
    scanner.skipBlanks();
    if (image.some((value) => value.column === column)) scanner.fail(`column ${column} is given twice`, 'Leave one of them away', start);
    image.push({ column, value: readValue(scanner, column) });
    scanner.skipBlanks();
  } while (scanner.take(/,/y) !== null);
  return image;
}

function readValue(scanner: Scanner, column: string): ColumnValue {
  const text = readString(scanner);
  if (text !== null) return text;
  const bare = scanner.take(BARE_VALUE)?.[0];
  if (bare === undefined)
    return scanner.fail(
      `column ${column} has no value`,
      `Write ${column}:value; null is null, ? an unchanged TOAST value, "" the empty text`,
    );
  return bare === 'null' ? null : bare === '?' ? undefined : bare;
}

function readString(scanner: Scanner): string | null {
  const start = scanner.at;
  if (scanner.look(/"/y) === null) return null;
  const match = scanner.take(STRING);
  if (match === null) scanner.fail('this quote is never closed', 'Put " behind the value', start);
  try {
    return JSON.parse(match[0]) as string;
  } catch {
    return scanner.fail('this is no JSON string', 'Escape what JSON wants escaped: \\" \\\\ \\n', start);
  }
}

function isKind(kind: string): kind is Kind {
  return Object.hasOwn(KINDS, kind);
}
