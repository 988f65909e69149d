import { MillraceError } from '../errors.ts';
import type { ObjectBody } from './object-store.ts';

/** Whose body it is, for the error. */
export interface BodyOwner {
  readonly key: string;
  readonly uri: string;
}

export function lengthOf(body: ObjectBody): number {
  return isHeld(body) ? body.reduce((sum, { length }) => sum + length, 0) : body.bytes;
}

/** The pieces of a body, in memory. Throws MR_STORE_FAILED when it is not as long as it says. */
export function piecesOf(body: ObjectBody, owner: BodyOwner): readonly Uint8Array[] | Promise<readonly Uint8Array[]> {
  return isHeld(body) ? body : collect(body, owner);
}

/** The pieces of a body one after another; the error is the last thing that happens. Throws as `piecesOf`. */
export async function* chunksOf(body: ObjectBody, { key, uri }: BodyOwner): AsyncGenerator<Uint8Array> {
  if (isHeld(body)) return yield* body;
  let given = 0;
  for await (const chunk of body.chunks()) {
    given += chunk.length;
    if (given > body.bytes) break;
    yield chunk;
  }
  if (given === body.bytes) return;
  const reason = `its body says ${body.bytes} bytes and gives ${given > body.bytes ? 'more' : `only ${given}`}`;
  throw new MillraceError('MR_STORE_FAILED', { operation: 'put', key, uri, reason });
}

/** A body in parts of `partBytes`, the last one shorter; cut without copying. Throws as `piecesOf`. */
export async function* partsOf(body: ObjectBody, partBytes: number, owner: BodyOwner): AsyncGenerator<readonly Uint8Array[]> {
  let part: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunksOf(body, owner)) {
    for (let at = 0; at < chunk.length; ) {
      const slice = chunk.subarray(at, at + partBytes - bytes);
      part.push(slice);
      bytes += slice.length;
      at += slice.length;
      if (bytes < partBytes) continue;
      yield part;
      part = [];
      bytes = 0;
    }
  }
  if (bytes > 0) yield part;
}

async function collect(body: ObjectBody, owner: BodyOwner): Promise<readonly Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for await (const chunk of chunksOf(body, owner)) pieces.push(chunk);
  return pieces;
}

function isHeld(body: ObjectBody): body is readonly Uint8Array[] {
  return Array.isArray(body);
}
