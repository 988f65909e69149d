import { createHash, randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { Readable } from 'node:stream';
import type * as Sdk from '@aws-sdk/client-s3';
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { MillraceError } from '../errors.ts';
import { type Clock, systemClock } from '../flow/index.ts';
import { checkKey, checkPrefix } from './keys.ts';
import type { ObjectBody, ObjectInfo, ObjectStore, StoreCapabilities } from './object-store.ts';
import { retryTransient } from './retry.ts';
import { asOwnError, isAbsent, isRefusedCondition, isTransient, isUnsupportedCondition, type S3Operation, s3Failure } from './s3-errors.ts';
import { type S3Location, s3LocationOf } from './s3-location.ts';

export interface S3StoreOptions {
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

/**
 * Objects in an S3 bucket below a prefix. The SDK is loaded here, so that who never opens one does not pay for it.
 *
 * `putIfAbsent` is a put with `If-None-Match: *`. An answer that got lost is made up for: each such put carries a token of its own, so that an
 * object found afterwards is known to be ours or another's. The first one is sent twice, to learn whether the store honours the condition at all
 * (MR_STORE_NOT_CONDITIONAL); with `?conditional-writes=false` the store looks and then writes.
 *
 * Errors: MR_INVALID_URI, MR_STORE_NO_BUCKET, MR_STORE_DENIED, MR_STORE_UNAVAILABLE, MR_STORE_FAILED.
 */
export async function openS3Store(uri: URL, options: S3StoreOptions = {}): Promise<ObjectStore> {
  const location = s3LocationOf(uri);
  const sdk = await import('@aws-sdk/client-s3');
  const store = new S3Store(sdk, new sdk.S3Client(clientConfig(location, options)), location, options);
  try {
    await store.prove();
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

function clientConfig(location: S3Location, { idleTimeoutMs = 60_000 }: S3StoreOptions): S3ClientConfig {
  return {
    ...(location.endpoint === null ? { followRegionRedirects: true } : { endpoint: location.endpoint }),
    ...(location.region === null ? {} : { region: location.region }),
    forcePathStyle: location.forcePathStyle,
    // Repetition is ours: only so is a body that comes in pieces sent again, and an answer that got lost remembered.
    maxAttempts: 1,
    // Content-MD5 protects the body; the newer checksums are unknown to many stores, and a streamed body would need their trailers.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // What it would print is in the errors; a log of a run is not to be mixed with it.
    logger: { debug: silent, info: silent, warn: silent, error: silent },
    requestHandler: { connectionTimeout: Math.min(idleTimeoutMs, CONNECT_TIMEOUT_MS), socketTimeout: idleTimeoutMs },
  };
}

const silent = () => {};
const CONNECT_TIMEOUT_MS = 10_000;
const OPEN_RETRIES = 3;
/** Up to here the pieces of a body are joined: one write instead of many. */
const JOIN_BYTES = 1024 * 1024;
/** Metadata that says which call of putIfAbsent wrote an object. */
const WRITER = 'millrace-writer';

class S3Store implements ObjectStore {
  readonly uri: string;
  readonly capabilities: StoreCapabilities;
  readonly #sdk: typeof Sdk;
  readonly #client: S3Client;
  readonly #location: S3Location;
  readonly #options: S3StoreOptions;
  readonly #closed = new AbortController();
  readonly #http = { abortSignal: this.#closed.signal };
  /** Whether the store has shown that it honours If-None-Match. */
  #isConditionProven = false;

  constructor(sdk: typeof Sdk, client: S3Client, location: S3Location, options: S3StoreOptions) {
    setMaxListeners(0, this.#closed.signal);
    client.middlewareStack.add((next) => (args) => next(args).catch((error: unknown) => Promise.reject(asOwnError(error))), {
      step: 'deserialize',
    });
    this.#sdk = sdk;
    this.#client = client;
    this.#location = location;
    this.#options = options;
    this.uri = location.shown;
    this.capabilities = { putIfAbsent: location.conditionalWrites ? 'atomic' : 'probe' };
  }

  /** Finds a missing bucket, credentials or endpoint before anything else is done. */
  async prove(): Promise<void> {
    const input = { Bucket: this.#location.bucket, Prefix: this.#location.prefix, MaxKeys: 1 };
    await this.#request('list', '', () => this.#client.send(new this.#sdk.ListObjectsV2Command(input), this.#http), OPEN_RETRIES);
  }

  async put(key: string, body: ObjectBody): Promise<void> {
    checkKey(key);
    const md5 = md5Of(body);
    await this.#request('put', key, () => this.#send(key, body, md5));
  }

  async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    checkKey(key);
    if (!this.#location.conditionalWrites || !this.#isConditionProven) {
      if (await this.exists(key)) return false;
    }
    if (this.#location.conditionalWrites) return this.#putConditionally(key, body);
    await this.put(key, body);
    return true;
  }

  async get(key: string): Promise<Buffer | null> {
    checkKey(key);
    return this.#request('get', key, async () => {
      const found = await this.#fetch(key);
      if (found === null) return null;
      const chunks: Uint8Array[] = [];
      for await (const chunk of found.body) chunks.push(chunk);
      return Buffer.concat(chunks);
    });
  }

  async read(key: string): Promise<AsyncIterable<Uint8Array> | null> {
    checkKey(key);
    const found = await this.#request('get', key, () => this.#fetch(key));
    return found === null ? null : this.#chunksOf(key, found);
  }

  async exists(key: string): Promise<boolean> {
    checkKey(key);
    return (await this.#request('head', key, () => this.#head(key))) !== null;
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    checkPrefix(prefix);
    const { bucket, prefix: root } = this.#location;
    let token: string | undefined;
    do {
      const input = {
        Bucket: bucket,
        Prefix: root + prefix,
        EncodingType: 'url' as const,
        ...(token === undefined ? {} : { ContinuationToken: token }),
      };
      const page = await this.#request('list', prefix, () => this.#client.send(new this.#sdk.ListObjectsV2Command(input), this.#http));
      for (const { Key: found = '', Size: size = 0 } of page.Contents ?? []) {
        // Control characters in a key are no XML, so keys come encoded; a store that ignores the wish does not say that it followed it.
        const key = page.EncodingType === 'url' ? decodeURIComponent(found.replaceAll('+', ' ')) : found;
        // What ends in a slash is a folder's placeholder that some tools make.
        if (!key.endsWith('/')) yield { key: key.slice(root.length), size };
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async delete(key: string): Promise<void> {
    checkKey(key);
    const input = { Bucket: this.#location.bucket, Key: this.#location.prefix + key };
    await this.#request('delete', key, async () => {
      try {
        await this.#client.send(new this.#sdk.DeleteObjectCommand(input), this.#http);
      } catch (error) {
        if (!isAbsent(error)) throw error;
      }
    });
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#client.destroy();
  }

  async #putConditionally(key: string, body: ObjectBody): Promise<boolean> {
    const md5 = md5Of(body);
    const token = randomUUID();
    let isAnswerLost = false;
    const wasWritten = await this.#request('put', key, async () => {
      if (isAnswerLost) {
        const found = await this.#head(key);
        if (found !== null) return found.writer === token;
      }
      try {
        await this.#send(key, body, md5, token);
        return true;
      } catch (error) {
        if (isRefusedCondition(error)) return isAnswerLost && (await this.#head(key))?.writer === token;
        if (isUnsupportedCondition(error)) throw new MillraceError('MR_STORE_NOT_CONDITIONAL', { uri: this.uri }, error);
        isAnswerLost ||= isTransient(error);
        throw error;
      }
    });
    if (wasWritten && !this.#isConditionProven) await this.#proveCondition(key, body, md5, token);
    return wasWritten;
  }

  /** Puts what is there already: refused by a store that honours the condition, without effect on one that does not. */
  async #proveCondition(key: string, body: ObjectBody, md5: string, token: string): Promise<void> {
    const isHonoured = await this.#request('put', key, async () => {
      try {
        await this.#send(key, body, md5, token);
        return false;
      } catch (error) {
        if (isRefusedCondition(error)) return true;
        throw error;
      }
    });
    if (!isHonoured) throw new MillraceError('MR_STORE_NOT_CONDITIONAL', { uri: this.uri });
    this.#isConditionProven = true;
  }

  /** One attempt to put; with a token only where there is no object yet. */
  async #send(key: string, pieces: ObjectBody, md5: string, token?: string): Promise<void> {
    const bytes = byteLength(pieces);
    const isJoined = pieces.length <= 1 || bytes <= JOIN_BYTES;
    const body = isJoined
      ? Buffer.concat(pieces)
      : Readable.from(
          pieces.filter(({ length }) => length > 0),
          { objectMode: false },
        );
    await this.#client.send(
      new this.#sdk.PutObjectCommand({
        Bucket: this.#location.bucket,
        Key: this.#location.prefix + key,
        Body: body,
        ContentLength: bytes,
        ContentMD5: md5,
        ...(token === undefined ? {} : { IfNoneMatch: '*', Metadata: { [WRITER]: token } }),
      }),
      this.#http,
    );
  }

  async #head(key: string): Promise<{ writer: string | undefined } | null> {
    try {
      const input = { Bucket: this.#location.bucket, Key: this.#location.prefix + key };
      const { Metadata } = await this.#client.send(new this.#sdk.HeadObjectCommand(input), this.#http);
      return { writer: Metadata?.[WRITER] };
    } catch (error) {
      if (isAbsent(error)) return null;
      throw error;
    }
  }

  async #fetch(key: string, from?: { readonly at: number; readonly etag: string }): Promise<Fetched | null> {
    try {
      const range = from === undefined ? {} : { Range: `bytes=${from.at}-`, IfMatch: from.etag };
      const input = { Bucket: this.#location.bucket, Key: this.#location.prefix + key, ...range };
      const { Body, ETag = '', ContentLength = 0 } = await this.#client.send(new this.#sdk.GetObjectCommand(input), this.#http);
      return { body: Body as Readable, etag: ETag, bytes: ContentLength };
    } catch (error) {
      if (isAbsent(error)) return null;
      throw error;
    }
  }

  /** The chunks of an object; when the connection breaks, the rest of the same version is asked for. */
  async *#chunksOf(key: string, { body, etag, bytes }: Fetched): AsyncGenerator<Uint8Array> {
    let rest: Readable | null = body;
    let at = 0;
    while (rest !== null) {
      try {
        for await (const chunk of rest as AsyncIterable<Uint8Array>) {
          at += chunk.length;
          yield chunk;
        }
        return;
      } catch (error) {
        if (!isTransient(error)) throw this.#failure(error, 'get', key, 1);
      }
      if (at >= bytes) return;
      const from = { at, etag };
      rest = (await this.#request('get', key, () => this.#fetch(key, from)))?.body ?? null;
    }
    throw new MillraceError('MR_STORE_FAILED', {
      operation: 'get',
      key,
      uri: this.uri,
      reason: 'the object was deleted while it was read',
    });
  }

  async #request<T>(operation: S3Operation, key: string, attempt: () => Promise<T>, mostRetries = Number.POSITIVE_INFINITY): Promise<T> {
    const { clock = systemClock, retries = 7, retryBaseMs = 500, retryCapMs = 20_000 } = this.#options;
    let attempts = 0;
    try {
      return await retryTransient(
        () => {
          attempts++;
          return attempt();
        },
        isTransient,
        { clock, retries: Math.min(retries, mostRetries), baseMs: retryBaseMs, capMs: retryCapMs, signal: this.#closed.signal },
      );
    } catch (error) {
      throw this.#failure(error, operation, key, attempts);
    }
  }

  #failure(error: unknown, operation: S3Operation, key: string, attempts: number): unknown {
    return error instanceof MillraceError
      ? error
      : s3Failure(error, { operation, key, attempts, uri: this.uri, bucket: this.#location.bucket });
  }
}

interface Fetched {
  readonly body: Readable;
  readonly etag: string;
  readonly bytes: number;
}

function md5Of(pieces: ObjectBody): string {
  const hash = createHash('md5');
  for (const piece of pieces) hash.update(piece);
  return hash.digest('base64');
}

function byteLength(pieces: ObjectBody): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}
