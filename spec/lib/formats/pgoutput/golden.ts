import { MessageKind, type PgoutputMessage, type PgoutputOptions, PgoutputReader } from '../../../../lib/formats/pgoutput/index.ts';
import { wire } from './notation.ts';

/** One message by hand, after PostgreSQL's "Logical Replication Message Formats", and what the reader must say of it. */
export interface Golden {
  readonly name: string;
  readonly kind: MessageKind;
  readonly bytes: Buffer;
  readonly options: PgoutputOptions;
  /** Inside a streamed block. */
  readonly inStream: boolean;
  /** The reader's fields afterwards. */
  readonly fields: Partial<
    Pick<PgoutputReader, 'relationId' | 'op' | 'rowAt' | 'columnCount' | 'xid' | 'finalLsn' | 'commitLsn' | 'endLsn' | 'commitTimeUs'>
  >;
  readonly message: PgoutputMessage | null;
}

/** 2024-05-06 07:08:09.123456 UTC, in PostgreSQL's microseconds since 2000 and in ours since 1970. */
const TIME = '0002bac2801b6a80';
export const TIME_US = 1_714_979_289_123_456n;
/** 1999-12-31 23:59:59.999999 UTC: PostgreSQL's clock is signed. */
const BEFORE_2000 = 'ffffffffffffffff';

function golden(
  name: string,
  kind: MessageKind,
  text: string,
  expected: { fields?: Golden['fields']; message?: PgoutputMessage; options?: PgoutputOptions; inStream?: boolean },
): Golden {
  const { fields = {}, message = null, options = { protocolVersion: 4 }, inStream = false } = expected;
  return { name, kind, bytes: wire(text), options, inStream, fields, message };
}

const { insert, update } = MessageKind;
const remove = MessageKind.delete;

const ROWS: readonly Golden[] = [
  golden('an insert of text, null and empty text', insert, `'I' 00004001 'N' 0003 't' 00000002 '42' 'n' 't' 00000000`, {
    fields: { relationId: 0x4001, op: insert, rowAt: 5, columnCount: 3, xid: 0 },
  }),
  golden('an insert into a table without columns', insert, `'I' ffffffff 'N' 0000`, {
    fields: { relationId: 0xffff_ffff, op: insert, rowAt: 5, columnCount: 0 },
  }),
  golden('an update without an old image', update, `'U' 00004001 'N' 0002 't' 00000001 '1' 'u'`, {
    fields: { relationId: 0x4001, op: update, rowAt: 5, columnCount: 2 },
  }),
  golden('an update with a key image', update, `'U' 00004001 'K' 0002 't' 00000001 '1' 'n' 'N' 0002 't' 00000001 '2' 'u'`, {
    fields: { relationId: 0x4001, op: update, rowAt: 5, columnCount: 2 },
  }),
  golden(
    'an update with a full old image',
    update,
    `'U' 00004001 'O' 0002 't' 00000001 '1' 'n' 'N' 0002 't' 00000001 '1' 't' 00000003 'abc'`,
    {
      fields: { relationId: 0x4001, op: update, rowAt: 5, columnCount: 2 },
    },
  ),
  golden('a delete by key', remove, `'D' 00004001 'K' 0002 't' 00000001 '1' 'n'`, { fields: { op: remove, rowAt: 5, columnCount: 2 } }),
  golden('a delete with a full old image', remove, `'D' 00004001 'O' 0002 't' 00000001 '1' 't' 00000002 'ab'`, {
    fields: { op: remove, rowAt: 5 },
  }),
  golden('an insert in a streamed block', insert, `'I' 000002db 00004001 'N' 0001 't' 00000002 '42'`, {
    inStream: true,
    fields: { relationId: 0x4001, op: insert, rowAt: 9, columnCount: 1, xid: 0x2db },
  }),
  golden('an update in a streamed block', update, `'U' 000002db 00004001 'K' 0001 't' 00000001 '1' 'N' 0001 't' 00000001 '2'`, {
    inStream: true,
    fields: { relationId: 0x4001, op: update, rowAt: 9, columnCount: 1, xid: 0x2db },
  }),
  golden('a delete in a streamed block', remove, `'D' 000002db 00004001 'O' 0001 'n'`, {
    inStream: true,
    fields: { relationId: 0x4001, op: remove, rowAt: 9, columnCount: 1, xid: 0x2db },
  }),
];

const TRANSACTIONS: readonly Golden[] = [
  golden('a begin', MessageKind.begin, `'B' 000000160b374d84 ${TIME} 000002da`, {
    options: {},
    fields: { finalLsn: 0x16_0b37_4d84n, commitTimeUs: TIME_US, xid: 0x2da },
  }),
  golden('a begin with the highest numbers', MessageKind.begin, `'B' ffffffffffffffff 7fffffffffffffff ffffffff`, {
    fields: { finalLsn: (1n << 64n) - 1n, commitTimeUs: (1n << 63n) - 1n + 946_684_800_000_000n, xid: 0xffff_ffff },
  }),
  golden('a commit before 2000', MessageKind.commit, `'C' 00 000000160b374d84 000000160b374db8 ${BEFORE_2000}`, {
    options: {},
    fields: { commitLsn: 0x16_0b37_4d84n, endLsn: 0x16_0b37_4db8n, commitTimeUs: 946_684_799_999_999n },
  }),
];

const relation: PgoutputMessage = {
  type: 'relation',
  relationId: 0x4001,
  namespace: 'public',
  name: 'Bücher neu',
  replicaIdentity: 'd',
  columns: [
    { name: 'id', isKey: true, typeOid: 20, typeModifier: -1 },
    { name: 'price', isKey: false, typeOid: 1700, typeModifier: 0xa0006 },
  ],
};
const RELATION_BODY = `00004001 "public" "Bücher neu" 'd' 0002 01 "id" 00000014 ffffffff 00 "price" 000006a4 000a0006`;

const CONTROL: readonly Golden[] = [
  golden('a relation', MessageKind.relation, `'R' ${RELATION_BODY}`, { options: {}, message: relation }),
  golden('a relation of pg_catalog with a full identity and no column', MessageKind.relation, `'R' 000004e7 "" "pg_class" 'f' 0000`, {
    message: { type: 'relation', relationId: 1255, namespace: '', name: 'pg_class', replicaIdentity: 'f', columns: [] },
  }),
  golden('a relation in a streamed block', MessageKind.relation, `'R' 000002db ${RELATION_BODY}`, {
    inStream: true,
    fields: { xid: 0x2db },
    message: relation,
  }),
  golden('a type', MessageKind.type, `'Y' 00004010 "public" "mood"`, {
    options: {},
    message: { type: 'type', typeOid: 0x4010, namespace: 'public', name: 'mood' },
  }),
  golden('a type in a streamed block', MessageKind.type, `'Y' 000002db 00004010 "public" "mood"`, {
    inStream: true,
    fields: { xid: 0x2db },
    message: { type: 'type', typeOid: 0x4010, namespace: 'public', name: 'mood' },
  }),
  golden('a truncate of two relations', MessageKind.truncate, `'T' 00000002 03 00004001 00004002`, {
    options: {},
    message: { type: 'truncate', cascade: true, restartIdentity: true, relationIds: [0x4001, 0x4002] },
  }),
  golden('a truncate without options in a streamed block', MessageKind.truncate, `'T' 000002db 00000001 00 00004001`, {
    inStream: true,
    fields: { xid: 0x2db },
    message: { type: 'truncate', cascade: false, restartIdentity: false, relationIds: [0x4001] },
  }),
  golden('an origin', MessageKind.origin, `'O' 000000160b374d84 "elsewhere"`, {
    options: {},
    message: { type: 'origin', commitLsn: 0x16_0b37_4d84n, name: 'elsewhere' },
  }),
  golden('an origin in a streamed block, which names no transaction', MessageKind.origin, `'O' 000000160b374d84 "elsewhere"`, {
    inStream: true,
    fields: { xid: 0 },
    message: { type: 'origin', commitLsn: 0x16_0b37_4d84n, name: 'elsewhere' },
  }),
  golden('a transactional message', MessageKind.message, `'M' 01 000000160b374d84 "prefix" 00000003 00ff41`, {
    options: {},
    message: { type: 'message', isTransactional: true, lsn: 0x16_0b37_4d84n, prefix: 'prefix', content: Buffer.from([0, 0xff, 0x41]) },
  }),
  golden('a message outside of transactions, empty', MessageKind.message, `'M' 00 000000160b374d84 "" 00000000`, {
    message: { type: 'message', isTransactional: false, lsn: 0x16_0b37_4d84n, prefix: '', content: Buffer.alloc(0) },
  }),
  golden('a message in a streamed block', MessageKind.message, `'M' 000002db 01 000000160b374d84 "p" 00000001 41`, {
    inStream: true,
    fields: { xid: 0x2db },
    message: { type: 'message', isTransactional: true, lsn: 0x16_0b37_4d84n, prefix: 'p', content: Buffer.from('A') },
  }),
];

const PREPARED = `000000160b374d84 000000160b374db8 ${TIME} 000002da "gid-1"`;
const prepared = { lsn: 0x16_0b37_4d84n, endLsn: 0x16_0b37_4db8n, timeUs: TIME_US, xid: 0x2da, gid: 'gid-1' };

const STREAMED: readonly Golden[] = [
  golden('a stream start', MessageKind.streamStart, `'S' 000002da 01`, {
    options: { protocolVersion: 2 },
    message: { type: 'streamStart', xid: 0x2da, isFirstSegment: true },
  }),
  golden('a stream start of a later segment', MessageKind.streamStart, `'S' 000002da 00`, {
    message: { type: 'streamStart', xid: 0x2da, isFirstSegment: false },
  }),
  golden('a stream stop', MessageKind.streamStop, `'E'`, { inStream: true, message: { type: 'streamStop' } }),
  golden('a stream commit', MessageKind.streamCommit, `'c' 000002da 00 000000160b374d84 000000160b374db8 ${TIME}`, {
    message: { type: 'streamCommit', xid: 0x2da, commitLsn: 0x16_0b37_4d84n, endLsn: 0x16_0b37_4db8n, commitTimeUs: TIME_US },
  }),
  golden('a stream abort', MessageKind.streamAbort, `'A' 000002da 000002db`, {
    options: { protocolVersion: 2 },
    message: { type: 'streamAbort', xid: 0x2da, subXid: 0x2db, abortLsn: null, abortTimeUs: null },
  }),
  golden('a stream abort of a parallel stream (v4)', MessageKind.streamAbort, `'A' 000002da 000002db 000000160b374d84 ${TIME}`, {
    options: { protocolVersion: 4, parallelStreaming: true },
    message: { type: 'streamAbort', xid: 0x2da, subXid: 0x2db, abortLsn: 0x16_0b37_4d84n, abortTimeUs: TIME_US },
  }),
  golden('a begin prepare', MessageKind.beginPrepare, `'b' ${PREPARED}`, {
    options: { protocolVersion: 3 },
    message: { type: 'beginPrepare', ...prepared },
  }),
  golden('a prepare', MessageKind.prepare, `'P' 00 ${PREPARED}`, { message: { type: 'prepare', ...prepared } }),
  golden('a commit prepared', MessageKind.commitPrepared, `'K' 00 ${PREPARED}`, { message: { type: 'commitPrepared', ...prepared } }),
  golden('a stream prepare', MessageKind.streamPrepare, `'p' 00 ${PREPARED}`, { message: { type: 'streamPrepare', ...prepared } }),
  golden(
    'a rollback prepared',
    MessageKind.rollbackPrepared,
    `'r' 00 000000160b374d84 000000160b374db8 ${TIME} ${BEFORE_2000} 000002da "gid-1"`,
    {
      message: {
        type: 'rollbackPrepared',
        prepareEndLsn: 0x16_0b37_4d84n,
        endLsn: 0x16_0b37_4db8n,
        prepareTimeUs: TIME_US,
        rollbackTimeUs: 946_684_799_999_999n,
        xid: 0x2da,
        gid: 'gid-1',
      },
    },
  ),
];

export const GOLDEN: readonly Golden[] = [...TRANSACTIONS, ...ROWS, ...CONTROL, ...STREAMED];

/** A reader that stands where the golden message comes. */
export function readerFor({ options, inStream }: Pick<Golden, 'options' | 'inStream'>): PgoutputReader {
  const reader = new PgoutputReader(options);
  if (inStream) reader.read(wire(`'S' 000002da 01`), 0, 6);
  return reader;
}
