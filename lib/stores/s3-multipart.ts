import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type {
  CompletedPart,
  ListMultipartUploadsCommandInput,
  ListMultipartUploadsCommandOutput,
  MultipartUpload,
} from '@aws-sdk/client-s3';
import { MillraceError } from '../errors.ts';
import { crc32OfPieces } from '../formats/checksum.ts';
import { lengthOf, partsOf } from './body.ts';
import type { ObjectBody } from './object-store.ts';
import { retryTransient } from './retry.ts';
import { BeginAgain, isConflict, isGoneUpload, isRefusedCondition, isTransient, isUnsupportedCondition } from './s3-errors.ts';
import { checksumOf, crc32Text, payloadOf, type S3Requests, WRITER } from './s3-requests.ts';

/** How a large object is sent. */
export interface Multipart {
  /** Size of a part, at least 5 MiB; larger where the object would have more than 10 000. */
  readonly partBytes: number;
  /** Parts on their way at once. */
  readonly concurrency: number;
  /** Only where there is no object yet: the completion carries `If-None-Match: *`. */
  readonly ifAbsent: boolean;
}

/**
 * Writes an object in parts. Nothing is visible before its completion, and then all of it: the completion is the commit point (spec storage-sink §1),
 * and whatever fails, it included, is thrown. At most `concurrency` parts are in memory. Each part is repeated by itself; the
 * whole is begun again when the upload was aborted by another, or when the completion met another write at the same instant.
 *
 * An answer to the completion that got lost is made up for by a token: an object found afterwards is known to be ours or another's.
 *
 * @returns whether this call wrote it; always true without `ifAbsent`.
 */
export async function putInParts(requests: S3Requests, key: string, body: ObjectBody, multipart: Multipart): Promise<boolean> {
  // The same for all attempts: the completion of an earlier one may take effect late.
  const token = randomUUID();
  const policy = { clock: requests.clock, retries: STARTS_AGAIN, baseMs: 500, capMs: 20_000, signal: requests.closed };
  try {
    return await retryTransient(
      async (attempts) => {
        if (attempts > 1 && multipart.ifAbsent) {
          const found = await requests.repeat('head', key, () => requests.head(key));
          if (found !== null) return found.writer === token;
        }
        return putOnce(requests, key, body, multipart, token);
      },
      (error) => error instanceof BeginAgain,
      policy,
    );
  } catch (error) {
    throw error instanceof BeginAgain ? requests.failure(error.cause, 'put', key, STARTS_AGAIN + 1) : error;
  }
}

/**
 * Aborts uploads below the prefix that were begun more than `olderThanMs` ago: what writers that died left behind, which costs storage and shows in no list.
 * Younger ones may be of a writer that lives. It is a service, not a condition: a store that has no such list, or does not allow it, is left as it is.
 * Nothing is done where the prefix is the whole bucket, because uploads there may be anybody's.
 */
export async function abortAbandoned(requests: S3Requests, olderThanMs: number): Promise<void> {
  if (requests.location.prefix === '') return;
  const before = requests.clock.now() - olderThanMs;
  try {
    for await (const { Key, UploadId, Initiated } of openUploads(requests)) {
      // A store that ignores the prefix is not to cost others their uploads.
      const isOurs = Key?.startsWith(requests.location.prefix) === true;
      if (!isOurs || Initiated === undefined || Initiated.getTime() >= before) continue;
      const input = { Bucket: requests.location.bucket, Key, UploadId };
      await requests.client.send(new requests.sdk.AbortMultipartUploadCommand(input), requests.http);
    }
  } catch {
    // Left for the next start, or for a lifecycle rule of the bucket.
  }
}

/**
 * Whether the store honours If-None-Match when an upload is completed, which some do only on a plain put: tried on an object of one byte,
 * under a name in `folder`, which no list shows.
 */
export async function completesConditionally(requests: S3Requests, folder: string): Promise<boolean> {
  const key = `${folder}/conditional-${randomUUID()}`;
  const body = [Buffer.from('1')];
  const multipart = { partBytes: 1, concurrency: 1, ifAbsent: false };
  try {
    await putInParts(requests, key, body, multipart);
    return !(await putInParts(requests, key, body, { ...multipart, ifAbsent: true }));
  } catch (error) {
    if (error instanceof MillraceError && isUnsupportedCondition(error.cause)) return false;
    throw error;
  } finally {
    const command = new requests.sdk.DeleteObjectCommand(requests.objectAt(key));
    // It is in nobody's way.
    await requests.client.send(command, requests.http).catch(() => {});
  }
}

/** Beginnings of one upload after the first. */
const STARTS_AGAIN = 3;
const MOST_PARTS = 10_000;

interface Upload {
  readonly Bucket: string;
  readonly Key: string;
  readonly UploadId: string;
}

interface SentParts {
  readonly parts: readonly CompletedPart[];
  /** CRC32 of the whole. */
  readonly crc32: number;
}

async function putOnce(requests: S3Requests, key: string, body: ObjectBody, multipart: Multipart, token: string): Promise<boolean> {
  const upload = await begin(requests, key, token);
  let isMine = false;
  try {
    const sent = await sendParts(requests, upload, key, body, multipart);
    isMine = await complete(requests, upload, key, sent, lengthOf(body), multipart.ifAbsent, token);
    return isMine;
  } finally {
    if (!isMine) await abort(requests, upload, key);
  }
}

async function begin(requests: S3Requests, key: string, token: string): Promise<Upload> {
  const { client, sdk, location, placement } = requests;
  const target = requests.objectAt(key);
  const checksum = location.checksum === 'crc32' ? ({ ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' } as const) : {};
  const command = new sdk.CreateMultipartUploadCommand({ ...target, ...placement, ...checksum, Metadata: { [WRITER]: token } });
  return requests.repeat('begin', key, async () => {
    const { UploadId } = await client.send(command, requests.http);
    if (UploadId === undefined) throw emptyAnswer();
    return { ...target, UploadId };
  });
}

async function sendParts(requests: S3Requests, upload: Upload, key: string, body: ObjectBody, multipart: Multipart): Promise<SentParts> {
  const owner = { key, uri: requests.location.shown };
  const partBytes = Math.max(multipart.partBytes, Math.ceil(lengthOf(body) / MOST_PARTS));
  const stop = new AbortController();
  const signal = AbortSignal.any([requests.closed, stop.signal]);
  setMaxListeners(0, signal);
  const parts: CompletedPart[] = [];
  // A part that failed stays, so that it is noticed.
  const inFlight = new Set<Promise<void>>();
  let number = 0;
  let sum = 0;
  try {
    for await (const pieces of partsOf(body, partBytes, owner)) {
      sum = crc32OfPieces(pieces, sum);
      const at = number++;
      const sending = sendPart(requests, upload, key, number, pieces, signal).then((part) => {
        parts[at] = part;
        inFlight.delete(sending);
      });
      sending.catch(() => {});
      inFlight.add(sending);
      if (inFlight.size >= multipart.concurrency) await Promise.race(inFlight);
    }
    await Promise.all(inFlight);
    return { parts, crc32: sum };
  } catch (error) {
    stop.abort();
    // A part that arrives behind the abort would stay for ever.
    await Promise.allSettled(inFlight);
    throw error;
  }
}

function sendPart(
  requests: S3Requests,
  upload: Upload,
  key: string,
  number: number,
  pieces: readonly Uint8Array[],
  signal: AbortSignal,
): Promise<CompletedPart> {
  const checksum = checksumOf(pieces, requests.location.checksum);
  const attempt = async () => {
    const input = { ...upload, PartNumber: number, ...payloadOf(pieces), ...checksum };
    try {
      const { ETag } = await requests.client.send(new requests.sdk.UploadPartCommand(input), { abortSignal: signal });
      if (ETag === undefined) throw emptyAnswer();
      return { PartNumber: number, ETag, ...('ChecksumCRC32' in checksum ? checksum : {}) };
    } catch (error) {
      throw isGoneUpload(error) ? new BeginAgain(error) : error;
    }
  };
  return requests.repeat('put part', key, attempt, { signal });
}

/** @returns whether the object that stands there is this upload's. */
async function complete(
  requests: S3Requests,
  upload: Upload,
  key: string,
  { parts, crc32 }: SentParts,
  bytes: number,
  ifAbsent: boolean,
  token: string,
): Promise<boolean> {
  const { client, sdk, location } = requests;
  const whole =
    location.checksum === 'crc32' ? { ChecksumCRC32: crc32Text(crc32), ChecksumType: 'FULL_OBJECT' as const, MpuObjectSize: bytes } : {};
  const condition = ifAbsent ? { IfNoneMatch: '*' } : {};
  const command = new sdk.CompleteMultipartUploadCommand({ ...upload, ...whole, ...condition, MultipartUpload: { Parts: [...parts] } });
  let isAnswerLost = false;
  const isOurs = async () => isAnswerLost && (await requests.head(key))?.writer === token;
  return requests.repeat('complete', key, async () => {
    try {
      // Answered with 200 before it is done: the SDK throws what the body then says, but for one that says nothing.
      if ((await client.send(command, requests.http)).ETag === undefined) throw emptyAnswer();
      return true;
    } catch (error) {
      if (isRefusedCondition(error)) return isOurs();
      if (isGoneUpload(error) || (ifAbsent && isConflict(error))) {
        if (await isOurs()) return true;
        // Where there is no condition, another's later object would be replaced.
        if (ifAbsent || !isAnswerLost) throw new BeginAgain(error);
      }
      isAnswerLost ||= isTransient(error);
      throw error;
    }
  });
}

async function abort(requests: S3Requests, upload: Upload, key: string): Promise<void> {
  const attempt = () => requests.client.send(new requests.sdk.AbortMultipartUploadCommand(upload), requests.http);
  // What brought it here is the failure to tell; what stays is aborted when it is old.
  await requests.repeat('abort', key, attempt, { most: 2 }).catch(() => {});
}

async function* openUploads(requests: S3Requests): AsyncGenerator<MultipartUpload> {
  const { client, sdk, location } = requests;
  let next: ListMultipartUploadsCommandInput | null = { Bucket: location.bucket, Prefix: location.prefix };
  while (next !== null) {
    const page: ListMultipartUploadsCommandOutput = await client.send(new sdk.ListMultipartUploadsCommand(next), requests.http);
    yield* page.Uploads ?? [];
    const { IsTruncated, NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
    const isLast: boolean =
      IsTruncated !== true || KeyMarker === undefined || (KeyMarker === next.KeyMarker && UploadIdMarker === next.UploadIdMarker);
    next = isLast ? null : { Bucket: location.bucket, Prefix: location.prefix, KeyMarker, UploadIdMarker };
  }
}

function emptyAnswer(): Error {
  return Object.assign(new Error('the answer says nothing'), { name: 'InternalError' });
}
