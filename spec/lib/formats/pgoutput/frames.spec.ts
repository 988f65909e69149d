import { describe, expect, it } from '@jest/globals';
import { encodeStandbyStatus, FrameKind, formatLsn, parseLsn, ReplicationFrame } from '../../../../lib/formats/pgoutput/index.ts';
import { TIME_US } from './golden.ts';
import { wire } from './notation.ts';

const ROW_FRAME = wire(`'w' 000000160b374d84 000000160b374db8 0002bac2801b6a80 'E'`);
const KEEPALIVE = wire(`'k' 000000160b374db8 0002bac2801b6a80 01`);

/** `frame` with a byte on either side, as it stands in a read of the socket. */
function amid(frame: Buffer): Buffer {
  return Buffer.concat([Buffer.of(0xff), frame, Buffer.of(0xff)]);
}

describe('ReplicationFrame', () => {
  it('reads XLogData: where the message begins, and the positions on demand', () => {
    const frame = new ReplicationFrame();
    expect(frame.read(amid(ROW_FRAME), 1, 1 + ROW_FRAME.length)).toBe(FrameKind.xlogData);
    expect({ at: frame.payloadAt, start: frame.walStart, end: frame.walEnd, time: frame.sendTimeUs, reply: frame.replyRequested }).toEqual({
      at: 26,
      start: 0x16_0b37_4d84n,
      end: 0x16_0b37_4db8n,
      time: TIME_US,
      reply: false,
    });
  });

  it.each([
    ['00', false],
    ['01', true],
  ])('reads a keepalive whose reply flag is %s', (flag, reply) => {
    const frame = new ReplicationFrame();
    const bytes = amid(wire(`'k' 000000160b374db8 0002bac2801b6a80 ${flag}`));
    expect(frame.read(bytes, 1, 19)).toBe(FrameKind.keepalive);
    expect({ end: frame.walEnd, time: frame.sendTimeUs, reply: frame.replyRequested }).toEqual({
      end: 0x16_0b37_4db8n,
      time: TIME_US,
      reply,
    });
  });

  it.each([
    ['XLogData', ROW_FRAME],
    ['a keepalive', KEEPALIVE],
  ])('gives the typed error for %s cut at every byte', (_, bytes) => {
    const frame = new ReplicationFrame();
    for (let cut = 0; cut < bytes.length; cut++) {
      expect(() => frame.read(bytes, 0, cut)).toThrow('MR_PGOUTPUT_MALFORMED');
      expect(() => frame.read(bytes.subarray(0, cut), 0, cut)).toThrow('MR_PGOUTPUT_MALFORMED');
    }
  });

  it.each([
    ['a keepalive with a byte too many', wire(`'k' 000000160b374db8 0002bac2801b6a80 01 00`)],
    ['a keepalive whose flag is 2', wire(`'k' 000000160b374db8 0002bac2801b6a80 02`)],
    ['a frame of another kind', wire(`'x' 00`)],
  ])('refuses %s', (_, bytes) => {
    expect(() => new ReplicationFrame().read(bytes, 0, bytes.length)).toThrow('MR_PGOUTPUT_MALFORMED');
  });
});

describe('encodeStandbyStatus', () => {
  it('writes the three positions, the clock of PostgreSQL and the wish for a reply', () => {
    const status = { writeLsn: 3n, flushLsn: 2n, applyLsn: (1n << 64n) - 1n, clientTimeUs: TIME_US };
    const expected = (flag: string) => wire(`'r' 0000000000000003 0000000000000002 ffffffffffffffff 0002bac2801b6a80 ${flag}`);
    expect(encodeStandbyStatus(status)).toEqual(expected('00'));
    expect(encodeStandbyStatus({ ...status, replyRequested: true })).toEqual(expected('01'));
  });

  it.each([-1n, 1n << 64n])('I6: refuses the position %s, which cut to 64 bits would confirm another', (flushLsn) => {
    expect(() => encodeStandbyStatus({ writeLsn: 0n, flushLsn, applyLsn: 0n, clientTimeUs: TIME_US })).toThrow('out of range');
  });
});

describe('LSNs as text', () => {
  it.each([
    ['0/0', 0n],
    ['16/B374D848', 0x16_b374_d848n],
    ['FFFFFFFF/FFFFFFFF', (1n << 64n) - 1n],
    ['1/A', 0x1_0000_000an],
  ])('writes and reads %s', (text, lsn) => {
    expect(formatLsn(lsn)).toBe(text);
    expect(parseLsn(text)).toBe(lsn);
    expect(parseLsn(text.toLowerCase())).toBe(lsn);
  });

  it.each(['', '0', '/', '1/', '/1', '1/2/3', '100000000/0', '-1/0', ' 0/0', 'G/0'])('says that %j is none', (text) => {
    expect(parseLsn(text)).toBeNull();
  });
});
