import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { Readable } from 'node:stream';
import type * as Sdk from '@aws-sdk/client-s3';
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { MillraceError } from '../errors.ts';
import { type Clock, systemClock } from '../flow/index.ts';
import { crc32OfPieces } from '../formats/checksum.ts';
import { lengthOf } from './body.ts';
import type { ObjectInfo } from './object-store.ts';
import { retryTransient } from './retry.ts';
import { asOwnError, BeginAgain, isAbsent, isTransient, type S3Operation, s3Failure } from './s3-errors.ts';
import type { Checksum, S3Location } from './s3-location.ts';

export interface S3RequestOptions {
  readonly clock?: Clock;
  /** Repetitions of a request that failed for a passing reason. Default 7; 3 while opening. */
  readonly retries?: number;
  /** The first repetition waits at most this long, each further one twice as long. Default 500. */
  readonly retryBaseMs?: number;
  /** No repetition waits longer. Default 20 000. */
  readonly retryCapMs?: number;
  /** A connection on which nothing moves for this long is given up. Default 60 000. */
  readonly idleTimeoutMs?: number;
}

/** What the requests of one store share: the client, the place, how they are repeated and what their errors mean. */
export class S3Requests {
  readonly sdk: typeof Sdk;
  readonly client: S3Client;
  readonly location: S3Location;
  readonly clock: Clock;
  /** How a new object is kept. */
  readonly placement: Placement;
  readonly #options: S3RequestOptions;
  readonly #closed = new AbortController();

  constructor(sdk: typeof Sdk, location: S3Location, options: S3RequestOptions) {
    setMaxListeners(0, this.#closed.signal);
    this.sdk = sdk;
    this.client = new sdk.S3Client(clientConfig(location, options));
    this.client.middlewareStack.add((next) => (args) => next(args).catch((error: unknown) => Promise.reject(asOwnError(error))), {
      step: 'deserialize',
    });
    this.location = location;
    this.clock = options.clock ?? systemClock;
    this.placement = placementOf(location);
    this.#options = options;
  }

  /** Ends every request, and the waiting between them. */
  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  get http(): { readonly abortSignal: AbortSignal } {
    return { abortSignal: this.closed };
  }

  objectAt(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.location.bucket, Key: this.location.prefix + key };
  }

  /** Runs `attempt` again while it fails for a passing reason; its last failure is thrown as an error of ours. */
  async repeat<T>(
    operation: S3Operation,
    key: string,
    attempt: () => Promise<T>,
    { most = Number.POSITIVE_INFINITY, signal = this.closed }: { readonly most?: number; readonly signal?: AbortSignal } = {},
  ): Promise<T> {
    const { retries = 7, retryBaseMs = 500, retryCapMs = 20_000 } = this.#options;
    let attempts = 0;
    try {
      return await retryTransient(
        () => {
          attempts++;
          return attempt();
        },
        isTransient,
        { clock: this.clock, retries: Math.min(retries, most), baseMs: retryBaseMs, capMs: retryCapMs, signal },
      );
    } catch (error) {
      throw this.failure(error, operation, key, attempts);
    }
  }

  failure(error: unknown, operation: S3Operation, key: string, attempts: number): unknown {
    if (error instanceof MillraceError || error instanceof BeginAgain) return error;
    const { shown, bucket, placement } = this.location;
    return s3Failure(error, { operation, key, attempts, uri: shown, bucket, placement });
  }

  /** Null when there is no object; `writer` is the token that it was written with. One attempt. */
  async head(key: string): Promise<{ readonly writer: string | undefined; readonly etag: string } | null> {
    try {
      const { Metadata, ETag = '' } = await this.client.send(new this.sdk.HeadObjectCommand(this.objectAt(key)), this.http);
      return { writer: Metadata?.[WRITER], etag: ETag };
    } catch (error) {
      if (isAbsent(error)) return null;
      throw error;
    }
  }

  close(): void {
    this.#closed.abort();
    this.client.destroy();
  }
}

/** Metadata that says which call wrote an object. */
export const WRITER = 'millrace-writer';

/** What one object is to hold. */
export interface Payload {
  readonly pieces: readonly Uint8Array[];
  readonly checksum: PayloadChecksum;
}

type PutConditions = Pick<Sdk.PutObjectCommandInput, 'IfMatch' | 'IfNoneMatch' | 'Metadata'>;

/** One attempt to put. Resolves to the ETag of what stands there then; it is empty where the store does not say. */
export async function sendObject(requests: S3Requests, key: string, payload: Payload, conditions: PutConditions): Promise<string> {
  const { client, sdk, http, placement } = requests;
  const input = { ...requests.objectAt(key), ...placement, ...payloadOf(payload.pieces), ...payload.checksum, ...conditions };
  const { ETag = '' } = await client.send(new sdk.PutObjectCommand(input), http);
  return ETag;
}

/** The pages of a list, keys without the store's prefix; with a delimiter, what is deeper shows as folders, with the delimiter at their end. */
export async function* listPages(
  requests: S3Requests,
  prefix: string,
  delimiter?: string,
): AsyncGenerator<{ readonly files: ObjectInfo[]; readonly folders: string[] }> {
  const { client, sdk, http, location } = requests;
  const { bucket, prefix: root } = location;
  let token: string | undefined;
  do {
    const input = {
      Bucket: bucket,
      Prefix: root + prefix,
      EncodingType: 'url' as const,
      ...(delimiter === undefined ? {} : { Delimiter: delimiter }),
      ...(token === undefined ? {} : { ContinuationToken: token }),
    };
    const page = await requests.repeat('list', prefix, () => client.send(new sdk.ListObjectsV2Command(input), http));
    // Control characters in a key are no XML, so keys come encoded; a store that ignores the wish does not say that it followed it.
    const decoded = (key: string) => (page.EncodingType === 'url' ? decodeURIComponent(key.replaceAll('+', ' ')) : key).slice(root.length);
    yield {
      files: (page.Contents ?? []).map(({ Key = '', Size = 0 }) => ({ key: decoded(Key), size: Size })),
      folders: (page.CommonPrefixes ?? []).map(({ Prefix = '' }) => decoded(Prefix)),
    };
    token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
  } while (token !== undefined);
}

/** The body of a request, sent anew in each attempt. */
export function payloadOf(pieces: readonly Uint8Array[]): { readonly Body: Buffer | Readable; readonly ContentLength: number } {
  const bytes = lengthOf(pieces);
  const [first] = pieces;
  if (first !== undefined && pieces.length === 1) {
    return { Body: Buffer.from(first.buffer, first.byteOffset, first.byteLength), ContentLength: bytes };
  }
  if (bytes <= JOIN_BYTES) return { Body: Buffer.concat(pieces), ContentLength: bytes };
  const filled = pieces.filter(({ length }) => length > 0);
  return { Body: Readable.from(filled, { objectMode: false }), ContentLength: bytes };
}

export type PayloadChecksum = { readonly ChecksumCRC32: string } | { readonly ContentMD5: string };

/** Computed once and sent as a header: the SDK would send it behind the body (a trailer), which many stores do not know. */
export function checksumOf(pieces: readonly Uint8Array[], kind: Checksum): PayloadChecksum {
  if (kind === 'crc32') {
    return { ChecksumCRC32: crc32Text(crc32OfPieces(pieces)) };
  }
  const hash = createHash('md5');
  for (const piece of pieces) hash.update(piece);
  return { ContentMD5: hash.digest('base64') };
}

/** As S3 writes it: the four bytes in base64. */
export function crc32Text(sum: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(sum);
  return bytes.toString('base64');
}

/** Up to here the pieces of a body are joined: one write instead of many. */
const JOIN_BYTES = 1024 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;
/** Connections beside those for the parts of large objects; the SDK's own bound. */
const CONNECTIONS = 50;

type Placement = Pick<Sdk.PutObjectCommandInput, 'ServerSideEncryption' | 'SSEKMSKeyId' | 'StorageClass' | 'ACL'>;

function placementOf({ placement }: S3Location): Placement {
  const { sse, 'sse-kms-key-id': keyId, 'storage-class': storageClass, acl } = placement;
  return {
    ...(sse === undefined ? {} : { ServerSideEncryption: sse as Sdk.ServerSideEncryption }),
    ...(keyId === undefined ? {} : { SSEKMSKeyId: keyId }),
    ...(storageClass === undefined ? {} : { StorageClass: storageClass as Sdk.StorageClass }),
    ...(acl === undefined ? {} : { ACL: acl as Sdk.ObjectCannedACL }),
  };
}

function clientConfig(location: S3Location, { idleTimeoutMs = 60_000 }: S3RequestOptions): S3ClientConfig {
  const agent = { maxSockets: CONNECTIONS + location.flushConcurrency, keepAlive: true };
  return {
    ...(location.endpoint === null ? { followRegionRedirects: true } : { endpoint: location.endpoint }),
    ...(location.region === null ? {} : { region: location.region }),
    ...(location.credentials === null ? {} : { credentials: location.credentials }),
    forcePathStyle: location.forcePathStyle,
    // Repetition is ours: only so is a body that comes in pieces sent again, and an answer that got lost remembered.
    maxAttempts: 1,
    // `checksumOf` makes them.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: location.checksum === 'crc32' ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED',
    // What it would print is in the errors; a log of a run is not to be mixed with it.
    logger: { debug: silent, info: silent, warn: silent, error: silent },
    requestHandler: {
      connectionTimeout: Math.min(idleTimeoutMs, CONNECT_TIMEOUT_MS),
      socketTimeout: idleTimeoutMs,
      httpAgent: agent,
      httpsAgent: agent,
    },
  };
}

const silent = () => {};
