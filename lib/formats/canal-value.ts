import type { ByteWriter } from '../events/index.ts';
import { hexByte, isHexBytes } from './hex-bytes.ts';
import { ESCAPE_ROOM, escapeJson, escapeLatin1 } from './json-escape.ts';
import { FLOAT_ROOM, layoutFloat } from './number-layout.ts';
import type { ValueKind } from './storage-layout/type-map.ts';
import { viewOf } from './word-text.ts';

/**
 * Writes the source's text at `start … to − 1` as the inside of a JSON string: bool as `1`/`0`, `bytea` as one Latin-1 code point a byte, a finite float without
 * exponent, anything else as it is (spec storage-sink §6.2). Makes its own room, in slices.
 */
export function writeCanalValue(kind: ValueKind, bytes: Buffer, start: number, to: number, out: ByteWriter): void {
  if (kind === 'bool' && to - start === 1 && (bytes[start] === 0x74 || bytes[start] === 0x66)) {
    out.writeByte(bytes[start] === 0x74 ? 0x31 : 0x30);
  } else if (kind === 'bytes' && isHexBytes(bytes, start, to)) {
    for (let from = start + 2; from < to; from += SLICE) writeHex(bytes, from, Math.min(from + SLICE, to), out);
  } else if (kind !== 'float' || !writeFloat(bytes, start, to, out)) {
    writeText(bytes, start, to, out);
  }
}

const SLICE = 4096;

function writeFloat(bytes: Buffer, start: number, to: number, out: ByteWriter): boolean {
  const end = layoutFloat(bytes, start, to, out.ensure(FLOAT_ROOM), out.length, false);
  if (end >= 0) out.length = end;
  return end >= 0;
}

function writeHex(bytes: Buffer, from: number, to: number, out: ByteWriter): void {
  const buffer = out.ensure((to - from) * ESCAPE_ROOM);
  let end = out.length;
  for (let i = from; i < to; i += 2) end = escapeLatin1(hexByte(bytes, i), buffer, end);
  out.length = end;
}

/** Where the character begins that stands at `at`; `at` itself where that is no UTF-8: then what is in front of it ends there. */
function beforeCharacter(bytes: Buffer, at: number): number {
  for (let begin = at; begin >= at - 3; begin--) if ((bytes[begin]! & 0xc0) !== 0x80) return begin;
  return at;
}

function writeText(bytes: Buffer, start: number, to: number, out: ByteWriter): void {
  const view = viewOf(bytes);
  let from = start;
  while (from < to) {
    let until = Math.min(from + SLICE, to);
    if (until < to) until = beforeCharacter(bytes, until);
    const buffer = out.ensure((until - from) * ESCAPE_ROOM);
    out.length = escapeJson(bytes, view, from, until, buffer, out.view, out.length);
    from = until;
  }
}
