/**
 * The bytes of a row inside a row block: PostgreSQL's TupleData layout, as logical replication sends it. Sources of other databases write it
 * too. A row is one or two *images*, each a marker byte and a tuple:
 *
 *     row    = [ ('K' | 'O') tuple ] [ 'N' tuple ]     insert: N · update: N, KN or ON · delete: K or O
 *     tuple  = u16 column count, then per column  'n'  |  'u'  |  't' u32 length bytes          (big-endian)
 *
 * K is a key-only old image (columns outside the replica identity are absent, sent as 'n'), O a full one, N the new one. 'n' is null, 'u' an
 * unchanged TOAST value that the source did not send, 't' text in UTF-8.
 */
export const OP_INSERT = 0x49;
export const OP_UPDATE = 0x55;
export const OP_DELETE = 0x44;

export const IMAGE_NEW = 0x4e;
export const IMAGE_KEY = 0x4b;
export const IMAGE_OLD = 0x4f;

export const VALUE_NULL = 0x6e;
export const VALUE_UNCHANGED = 0x75;
export const VALUE_TEXT = 0x74;

/** In a tuple index: the column is null. */
export const LENGTH_NULL = -1;
/** In a tuple index: the column's value was not sent because it did not change. */
export const LENGTH_UNCHANGED = -2;

/**
 * Where the values of one tuple are: `starts[i]` and `lengths[i]` of wire column `i`, a negative length being `LENGTH_NULL` or
 * `LENGTH_UNCHANGED`. Reused from row to row, so that reading a row allocates nothing.
 */
export class TupleIndex {
  starts = new Int32Array(16);
  lengths = new Int32Array(16);
  count = 0;

  /** Indexes the tuple at `at` (its column count, just behind the marker) and returns where it ends. The bytes are trusted: a decoder has checked them. */
  read(bytes: Uint8Array, at: number): number {
    const count = (bytes[at]! << 8) | bytes[at + 1]!;
    if (count > this.starts.length) {
      this.starts = new Int32Array(count * 2);
      this.lengths = new Int32Array(count * 2);
    }
    this.count = count;
    const { starts, lengths } = this;
    let position = at + 2;
    for (let i = 0; i < count; i++) {
      const kind = bytes[position]!;
      if (kind === VALUE_TEXT) {
        const length =
          ((bytes[position + 1]! << 24) | (bytes[position + 2]! << 16) | (bytes[position + 3]! << 8) | bytes[position + 4]!) >>> 0;
        starts[i] = position + 5;
        lengths[i] = length;
        position += 5 + length;
      } else {
        starts[i] = position + 1;
        lengths[i] = kind === VALUE_NULL ? LENGTH_NULL : LENGTH_UNCHANGED;
        position += 1;
      }
    }
    return position;
  }
}

/** Where the tuple at `at` ends. */
export function tupleEnd(bytes: Uint8Array, at: number): number {
  let left = (bytes[at]! << 8) | bytes[at + 1]!;
  let position = at + 2;
  for (; left > 0; left--) {
    position +=
      bytes[position] === VALUE_TEXT
        ? 5 + (((bytes[position + 1]! << 24) | (bytes[position + 2]! << 16) | (bytes[position + 3]! << 8) | bytes[position + 4]!) >>> 0)
        : 1;
  }
  return position;
}

/** Where the row at `at`, of operation `op`, ends. */
export function rowEnd(bytes: Uint8Array, at: number, op: number): number {
  const end = tupleEnd(bytes, at + 1);
  return op === OP_UPDATE && bytes[at] !== IMAGE_NEW ? tupleEnd(bytes, end + 1) : end;
}
