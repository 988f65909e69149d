import { describe, expect, it } from '@jest/globals';
import { isMillraceError, type MillraceError } from '../../../../lib/errors.ts';
import { rowEnd } from '../../../../lib/events/index.ts';
import { MessageKind, PgoutputReader } from '../../../../lib/formats/pgoutput/index.ts';
import { GOLDEN, readerFor } from './golden.ts';
import { wire } from './notation.ts';

/** What opens or closes a transaction or a block. */
const TRANSACTION_KINDS = new Set<MessageKind>([
  MessageKind.begin,
  MessageKind.commit,
  MessageKind.streamStart,
  MessageKind.streamCommit,
  MessageKind.streamAbort,
  MessageKind.beginPrepare,
  MessageKind.prepare,
  MessageKind.commitPrepared,
  MessageKind.rollbackPrepared,
  MessageKind.streamPrepare,
]);

function errorOf(fn: () => unknown): MillraceError {
  try {
    fn();
  } catch (error) {
    if (isMillraceError(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** `message` among other bytes, as it stands in a read of the socket. */
function amid(message: Buffer): { bytes: Buffer; at: number; end: number } {
  const around = Buffer.alloc(7, 0xff);
  return { bytes: Buffer.concat([around, message, around]), at: 7, end: 7 + message.length };
}

describe('PgoutputReader', () => {
  it.each(GOLDEN)('reads $name', (golden) => {
    const reader = readerFor(golden);
    const { bytes, at, end } = amid(golden.bytes);

    expect(reader.read(bytes, at, end)).toBe(golden.kind);
    const { rowAt = null, ...fields } = golden.fields;
    expect(reader).toMatchObject(fields);
    if (rowAt !== null) {
      expect(reader.rowAt).toBe(at + rowAt);
      expect(rowEnd(bytes, reader.rowAt, reader.op)).toBe(end);
    }
    expect(reader.message).toEqual(golden.message);
  });

  it('covers every kind of message', () => {
    expect(new Set(GOLDEN.map(({ kind }) => kind))).toEqual(new Set(Object.values(MessageKind)));
  });

  it.each(GOLDEN)('gives the typed error for $name cut at every byte, and reads on afterwards', (golden) => {
    for (let cut = 0; cut < golden.bytes.length; cut++) {
      const reader = readerFor(golden);
      const { bytes, at, end } = amid(golden.bytes);
      const alone = golden.bytes.subarray(0, cut);

      expect(errorOf(() => reader.read(alone, 0, cut)).code).toBe('MR_PGOUTPUT_MALFORMED');
      const error = errorOf(() => reader.read(bytes, at, at + cut));
      expect(error.code).toBe('MR_PGOUTPUT_MALFORMED');
      expect(error.details['offset']).toBeLessThanOrEqual(cut);
      expect(reader.read(bytes, at, end)).toBe(golden.kind);
    }
  });

  it.each(GOLDEN)('gives the typed error for $name with a byte behind its end', (golden) => {
    for (const extra of ['\0', 'N', 't']) {
      const bytes = Buffer.concat([golden.bytes, Buffer.from(extra)]);
      expect(errorOf(() => readerFor(golden).read(bytes, 0, bytes.length)).code).toBe('MR_PGOUTPUT_MALFORMED');
    }
  });

  it.each([
    ['a kind that does not exist', `'?' 00`],
    ['an insert with an old image', `'I' 00004001 'O' 0001 'n'`],
    ['an insert with a key image', `'I' 00004001 'K' 0001 'n'`],
    ['an insert with an old image before its new one', `'I' 00004001 'O' 0001 'n' 'N' 0001 'n'`],
    ['an update with an old image alone', `'U' 00004001 'O' 0001 'n'`],
    ['an update with two old images', `'U' 00004001 'K' 0001 'n' 'O' 0001 'n' 'N' 0001 'n'`],
    ['an update with two new images', `'U' 00004001 'N' 0001 'n' 'N' 0001 'n'`],
    ['an update whose images differ in width', `'U' 00004001 'O' 0001 'n' 'N' 0002 'n' 'n'`],
    ['a delete with a new image', `'D' 00004001 'N' 0001 'n'`],
    ['a delete with two images', `'D' 00004001 'K' 0001 'n' 'N' 0001 'n'`],
    ['a value of a kind that does not exist', `'I' 00004001 'N' 0001 'x'`],
    ['a value of 4 GiB', `'I' 00004001 'N' 0001 't' ffffffff '1'`],
    ['a value of 2 GiB', `'I' 00004001 'N' 0001 't' 80000000 '1'`],
    ['fewer columns than announced', `'I' 00004001 'N' ffff 'n'`],
    ['a begin without an LSN', `'B' 0000000000000000 0000000000000000 00000001`],
    ['a commit with flags', `'C' 01 000000160b374d84 000000160b374db8 0000000000000000`],
    ['a relation whose identity does not exist', `'R' 00004001 "s" "t" 'x' 0000`],
    ['a relation with more columns than bytes', `'R' 00004001 "s" "t" 'd' ffff 00 "c" 00000014 ffffffff`],
    ['a relation whose name has no end', `'R' 00004001 "s" 'name'`],
    ['a truncate of 4 billion relations', `'T' ffffffff 00 00004001`],
    ['a truncate of 2^30 + 1 relations, 4 bytes modulo 2^32', `'T' 40000001 00 00004001`],
    ['a message of 4 GiB', `'M' 00 000000160b374d84 "p" ffffffff 41`],
    ['a message that is neither transactional nor not', `'M' 02 000000160b374d84 "p" 00000000`],
    ['a stream stop without a start', `'E'`],
    ['a stream start with a flag of 2', `'S' 000002da 02`],
    ['a stream commit with flags', `'c' 000002da 01 000000160b374d84 000000160b374db8 0000000000000000`],
    ['a prepare with flags', `'P' 01 000000160b374d84 000000160b374db8 0000000000000000 000002da "g"`],
    ['a stream abort with an LSN when it was not asked for', `'A' 000002da 000002db 000000160b374d84 0000000000000000`],
  ])('refuses %s', (_, text) => {
    const bytes = wire(text);
    expect(errorOf(() => new PgoutputReader({ protocolVersion: 4 }).read(bytes, 0, bytes.length)).code).toBe('MR_PGOUTPUT_MALFORMED');
  });

  it.each([
    ['at a negative offset', -1, 1],
    ['behind the buffer', 8, 9],
    ['of no bytes', 0, 0],
    ['that ends before it begins', 3, 2],
    ['that ends behind the buffer', 0, 9],
    ['at no number', Number.NaN, 2],
  ])('refuses a message %s, because a caller that counts wrong must not read its neighbour', (_, at, end) => {
    expect(errorOf(() => new PgoutputReader().read(Buffer.alloc(8, 0x49), at, end)).code).toBe('MR_PGOUTPUT_MALFORMED');
  });

  it('says what is wrong, in which message, and where', () => {
    const error = errorOf(() => new PgoutputReader().read(wire(`'U' 00004001 'N' 0002 'n' 't' 00000009 'abc'`), 0, 17));
    expect(error.details).toEqual({ message: 'update', offset: 9, reason: 'column 1 has 9 bytes and 3 are left' });
  });

  it('reports a value in binary form as such, because the remedy is an option of the session', () => {
    const bytes = wire(`'I' 00004001 'N' 0002 'n' 'b' 00000004 0000002a`);
    const error = errorOf(() => new PgoutputReader().read(bytes, 0, bytes.length));
    expect(error.code).toBe('MR_PGOUTPUT_BINARY');
    expect(error.details).toEqual({ relationId: 0x4001, column: 1 });
  });

  it.each([
    ['stream start', 1, `'S' 000002da 01`],
    ['stream commit', 1, `'c' 000002da 00 000000160b374d84 000000160b374db8 0000000000000000`],
    ['stream abort', 1, `'A' 000002da 000002db`],
    ['begin prepare', 2, `'b' 000000160b374d84 000000160b374db8 0000000000000000 000002da "g"`],
    ['prepare', 2, `'P' 00 000000160b374d84 000000160b374db8 0000000000000000 000002da "g"`],
    ['commit prepared', 2, `'K' 00 000000160b374d84 000000160b374db8 0000000000000000 000002da "g"`],
    ['stream prepare', 2, `'p' 00 000000160b374d84 000000160b374db8 0000000000000000 000002da "g"`],
  ] as const)('refuses a %s in a session of version %i, which did not ask for it', (_, protocolVersion, text) => {
    const bytes = wire(text);
    expect(errorOf(() => new PgoutputReader({ protocolVersion }).read(bytes, 0, bytes.length)).code).toBe('MR_PGOUTPUT_MALFORMED');
    expect(() => new PgoutputReader({ protocolVersion: 4 }).read(bytes, 0, bytes.length)).not.toThrow();
  });

  it.each(GOLDEN.filter(({ kind, inStream }) => !inStream && TRANSACTION_KINDS.has(kind)))(
    'refuses $name inside a streamed block, because a block holds changes alone',
    ({ bytes, options }) => {
      const reader = readerFor({ options: { ...options, protocolVersion: 4 }, inStream: true });
      expect(errorOf(() => reader.read(bytes, 0, bytes.length)).code).toBe('MR_PGOUTPUT_MALFORMED');
      expect(reader.isInStream).toBe(true);
    },
  );

  it('reads changes with a leading transaction from the stream start to the stream stop and no longer', () => {
    const reader = new PgoutputReader({ protocolVersion: 2 });
    const kinds = [`'S' 000002da 01`, `'I' 000002db 00004001 'N' 0001 'n'`, `'E'`, `'I' 00004001 'N' 0001 'n'`].map((text) => {
      const bytes = wire(text);
      reader.read(bytes, 0, bytes.length);
      return { isInStream: reader.isInStream, xid: reader.xid };
    });
    expect(kinds).toEqual([
      { isInStream: true, xid: 0 },
      { isInStream: true, xid: 0x2db },
      { isInStream: false, xid: 0 },
      { isInStream: false, xid: 0 },
    ]);
  });

  it('gives the content of a message away as a copy, because the bytes it read from are used again', () => {
    const bytes = wire(`'M' 00 000000160b374d84 "p" 00000003 'abc'`);
    const reader = new PgoutputReader();
    reader.read(bytes, 0, bytes.length);
    bytes.fill(0);
    expect(reader.message).toMatchObject({ content: Buffer.from('abc') });
  });
});
