import type { Column, Table } from '../events/index.ts';
import { U64_ROOM, writeDecimal, writeU64 } from './digits.ts';
import { jsonString } from './json-escape.ts';
import { fullMysqlType, keyColumns, storageType, type ValueKind } from './storage-layout/type-map.ts';
import { WordText } from './word-text.ts';

/** What canal-json writes the same for all rows of a table version. */
export class CanalPlan {
  readonly columns: readonly PlanColumn[];
  /** The columns of a delete. */
  readonly deleted: readonly PlanColumn[];
  readonly insert: Head;
  readonly update: Head;
  /** Of an update without an old image: its `old` is there already. */
  readonly bareUpdate: Head;
  readonly delete: Head;
  /** For the names and punctuation of a row's data and old; values come on top. */
  readonly room: number;
  /** Each column's value is where its place in `columns` is. */
  readonly isInWireOrder: boolean;

  constructor(table: Table, deleteKeysOnly: boolean, withFullTypes: boolean) {
    const keys = keyColumns(table);
    const deleted = deleteKeysOnly && keys.length > 0 ? keys : table.columns;
    this.columns = table.columns.map(planColumn);
    this.deleted = deleted === table.columns ? this.columns : deleted.map(planColumn);
    const begin = beginningOf(table, keys);
    const types = typesOf(table.columns, withFullTypes);
    this.insert = new Head(begin('INSERT'), `${types}"old":null,"data":[{`);
    this.update = new Head(begin('UPDATE'), `${types}"old":[{`);
    this.bareUpdate = new Head(begin('UPDATE'), `${types}"old":[{}],"data":[{`);
    this.delete = new Head(begin('DELETE'), `${deleted === table.columns ? types : typesOf(deleted, withFullTypes)}"old":null,"data":[{`);
    this.isInWireOrder = this.columns.every(({ wire }, index) => wire === index);
    this.room = this.columns.reduce((room, { nextNull }) => room + 2 * nextNull.room, 16);
  }
}

/** One column of a row's data: the first in it has no comma before its name. */
export interface PlanColumn {
  readonly wire: number;
  readonly kind: ValueKind;
  readonly isIdentity: boolean;
  /** `"name":"` */
  readonly firstPrefix: WordText;
  /** `,"name":"` */
  readonly nextPrefix: WordText;
  /** `"name":null` */
  readonly firstNull: WordText;
  /** `,"name":null` */
  readonly nextNull: WordText;
}

function planColumn(column: Column): PlanColumn {
  const name = jsonString(column.name);
  return {
    wire: column.wireIndex,
    kind: storageType(column).kind,
    isIdentity: column.isIdentity,
    firstPrefix: new WordText(`${name}:"`),
    nextPrefix: new WordText(`,${name}:"`),
    firstNull: new WordText(`${name}:null`),
    nextNull: new WordText(`,${name}:null`),
  };
}

/** What a row of a type begins with, up to its commit time. */
function beginningOf({ schema, name }: Table, keys: readonly Column[]): (type: string) => string {
  const pkNames = keys.length === 0 ? 'null' : `[${keys.map((key) => jsonString(key.name)).join(',')}]`;
  const names = `"database":${jsonString(schema)},"table":${jsonString(name)}`;
  return (type) => `{"id":0,${names},"pkNames":${pkNames},"isDdl":false,"type":"${type}","es":`;
}

/** What stands behind its time of writing, up to its values. */
function typesOf(columns: readonly Column[], withFullTypes: boolean): string {
  let sqlTypes = '';
  let mysqlTypes = '';
  for (const column of columns) {
    const comma = sqlTypes === '' ? '' : ',';
    const name = jsonString(column.name);
    const type = storageType(column);
    sqlTypes += `${comma}${name}:${type.sqlType}`;
    mysqlTypes += `${comma}${name}:"${withFullTypes ? fullMysqlType(type) : type.mysqlType}"`;
  }
  return `,"sql":"","sqlType":{${sqlTypes}},"mysqlType":{${mysqlTypes}},`;
}

/** Everything of a row before its values, with the two times patched in when they change. */
export class Head {
  bytes = Buffer.alloc(0);
  commitMs = Number.NaN;
  nowMs = Number.NaN;
  /** Where the commit time stands in `bytes`. */
  readonly commitMsAt: number;
  readonly #before: string;
  readonly #after: string;

  /** @param before what stands before the commit time. @param after what stands behind the time of writing. */
  constructor(before: string, after: string) {
    this.#before = before;
    this.#after = after;
    this.commitMsAt = Buffer.byteLength(before);
  }

  setTimes(commitMs: number, nowMs: number): void {
    if (isAsLong(commitMs, this.commitMs) && isAsLong(nowMs, this.nowMs)) {
      const end = writeDecimal(commitMs, this.bytes, this.commitMsAt);
      if (nowMs !== this.nowMs) writeDecimal(nowMs, this.bytes, end + BETWEEN_TIMES.length);
    } else this.bytes = Buffer.from(`${this.#before}${commitMs}${BETWEEN_TIMES}${nowMs}${this.#after}`);
    this.commitMs = commitMs;
    this.nowMs = nowMs;
  }
}

const BETWEEN_TIMES = ',"ts":';

/** What stands behind a row's data, with the commitTs of its transaction. */
export class CanalTail {
  readonly text: WordText;
  length: number;
  readonly #digitsAt: number;
  readonly #ending: Buffer;
  #commitTs = 0n;

  constructor(terminator: string, hasCommitTs: boolean) {
    const beginning = hasCommitTs ? '}],"_tidb":{"commitTs":' : `}]}${terminator}`;
    this.#digitsAt = hasCommitTs ? beginning.length : -1;
    this.#ending = Buffer.from(hasCommitTs ? `}}${terminator}` : '');
    this.text = new WordText(Buffer.concat([Buffer.from(beginning), Buffer.alloc(hasCommitTs ? U64_ROOM : 0), this.#ending]));
    this.length = this.text.length;
    this.setCommitTs(0n);
  }

  /** Writes it for a transaction; there must be room for `text.room`. Gives the place behind it. */
  write(commitTs: bigint, target: Uint8Array, at: number): number {
    const { bytes } = this.text;
    if (this.#digitsAt < 0) {
      target.set(bytes, at);
      return at + this.text.length;
    }
    for (let i = 0; i < this.#digitsAt; i++) target[at + i] = bytes[i]!;
    return this.#finish(commitTs, target, at + this.#digitsAt);
  }

  setCommitTs(commitTs: bigint): void {
    if (this.#digitsAt < 0 || (commitTs === this.#commitTs && commitTs !== 0n)) return;
    this.#commitTs = commitTs;
    this.length = this.#finish(commitTs, this.text.bytes, this.#digitsAt);
    this.text.reload();
  }

  /** From the digits on. */
  #finish(commitTs: bigint, target: Uint8Array, at: number): number {
    const end = writeU64(commitTs, target, at);
    for (let i = 0; i < this.#ending.length; i++) target[end + i] = this.#ending[i]!;
    return end + this.#ending.length;
  }
}

/** Whether a time's digits take the place of another's. */
function isAsLong(ms: number, before: number): boolean {
  if (hasThirteenDigits(ms)) return hasThirteenDigits(before);
  return ms >= 0 && before >= 0 && String(ms).length === String(before).length;
}

/** As a time in ms has from 2001 to 2286: one such time takes the place of another. */
export function hasThirteenDigits(ms: number): boolean {
  return ms >= 1e12 && ms < 1e13;
}
