import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isMillraceError } from '../../../../lib/errors.ts';
import { rowEnd } from '../../../../lib/events/index.ts';
import { MessageKind, messageKindName, PgoutputReader, ReplicationFrame } from '../../../../lib/formats/pgoutput/index.ts';
import { GOLDEN, readerFor } from './golden.ts';

/** Reads `bytes`; a decode must account for every byte of a row, a refusal must be a typed error, and nothing else may happen. */
function readOrRefuse(reader: PgoutputReader, bytes: Buffer): void {
  try {
    const kind = reader.read(bytes, 0, bytes.length);
    const isRow = kind === MessageKind.insert || kind === MessageKind.update || kind === MessageKind.delete;
    if (isRow) expect(rowEnd(bytes, reader.rowAt, reader.op)).toBe(bytes.length);
    const isBare = isRow || kind === MessageKind.begin || kind === MessageKind.commit;
    expect(reader.message?.type ?? messageKindName(kind)).toBe(messageKindName(kind));
    expect(reader.message === null).toBe(isBare);
  } catch (error) {
    if (!isMillraceError(error, 'MR_PGOUTPUT_MALFORMED') && !isMillraceError(error, 'MR_PGOUTPUT_BINARY')) throw error;
  }
}

const RUNS = { numRuns: 3000 };

describe('PgoutputReader, fed with anything', () => {
  it('reads or refuses random bytes behind every kind of type byte', () => {
    const kind = fc.constantFrom(...Object.values(MessageKind));
    fc.assert(
      fc.property(kind, fc.uint8Array({ maxLength: 80 }), fc.boolean(), (type, body, inStream) => {
        readOrRefuse(readerFor({ options: { protocolVersion: 4, parallelStreaming: true }, inStream }), Buffer.from([type, ...body]));
      }),
      RUNS,
    );
  });

  it('reads or refuses messages with bytes changed, removed and added', () => {
    const edits = fc.array(
      fc.record({ at: fc.nat(), byte: fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.nat(255)), how: fc.nat(5) }),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(fc.constantFrom(...GOLDEN), edits, (golden, changes) => {
        const bytes = [...golden.bytes];
        for (const { at, byte, how } of changes) {
          const place = at % (bytes.length + 1);
          if (how === 0) bytes.splice(place, 1);
          else if (how === 1) bytes.splice(place, 0, byte);
          else bytes[Math.min(place, bytes.length - 1)] = byte;
        }
        readOrRefuse(readerFor(golden), Buffer.from(bytes));
      }),
      RUNS,
    );
  });

  it('is the same reader after a refusal as before it', () => {
    const sequence = fc.array(
      fc.record({
        golden: fc.constantFrom(...GOLDEN.filter(({ inStream, options }) => !inStream && options.parallelStreaming !== true)),
        cut: fc.nat(),
      }),
      {
        maxLength: 6,
      },
    );
    fc.assert(
      fc.property(sequence, (steps) => {
        const reader = new PgoutputReader({ protocolVersion: 4 });
        const untouched = new PgoutputReader({ protocolVersion: 4 });
        for (const { golden, cut } of steps) {
          const { bytes } = golden;
          const length = cut % bytes.length;
          expect(() => reader.read(bytes, 0, length)).toThrow('MR_PGOUTPUT_MALFORMED');
          const results = [reader, untouched].map((one) => {
            try {
              return { kind: one.read(bytes, 0, bytes.length), ...one, isInStream: one.isInStream };
            } catch (error) {
              return String(error);
            }
          });
          expect(results[0]).toEqual(results[1]);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('ReplicationFrame, fed with anything', () => {
  it('reads or refuses random bytes', () => {
    const frame = new ReplicationFrame();
    fc.assert(
      fc.property(fc.constantFrom(0x77, 0x6b, 0x72), fc.uint8Array({ maxLength: 40 }), (kind, body) => {
        const bytes = Buffer.from([kind, ...body]);
        try {
          frame.read(bytes, 0, bytes.length);
          expect(frame.walStart <= (1n << 64n) - 1n && frame.walEnd >= 0n && typeof frame.sendTimeUs === 'bigint').toBe(true);
        } catch (error) {
          if (!isMillraceError(error, 'MR_PGOUTPUT_MALFORMED')) throw error;
        }
      }),
      RUNS,
    );
  });
});
