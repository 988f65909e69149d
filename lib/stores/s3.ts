import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { MillraceError } from '../errors.ts';
import { redactUrl } from '../redact.ts';
import { lengthOf, piecesOf } from './body.ts';
import { checkFolder, checkKey, checkPrefix, compareUtf8, RESERVED_FOLDER } from './keys.ts';
import type {
  ObjectBody,
  ObjectInfo,
  ObjectStore,
  ObjectVersion,
  StoreAccess,
  StoreCapabilities,
  VersionedObject,
} from './object-store.ts';
import { isAbsent, isRefusedCondition, isTransient, isUnsupportedCondition } from './s3-errors.ts';
import { type S3LocationOptions, s3LocationOf } from './s3-location.ts';
import { abortAbandoned, completesConditionally, putInParts } from './s3-multipart.ts';
import { notConditional, S3Replacer } from './s3-replace.ts';
import { checksumOf, listPages, type Payload, type S3RequestOptions, S3Requests, sendObject, WRITER } from './s3-requests.ts';

export interface S3StoreOptions extends S3LocationOptions, S3RequestOptions {
  /** `read` leaves abandoned uploads as they are. Default `write`. */
  readonly access?: StoreAccess;
  /** An object longer than this is sent in parts. Default 16 MiB; 0 to 5 GiB. */
  readonly multipartBytes?: number;
  /** Default 8 MiB; 5 MiB to 5 GiB. As many parts of one object as `flushConcurrency` says are in memory at once. */
  readonly partBytes?: number;
  /** Multipart uploads below the prefix that are older are aborted when the store opens for writing. Default 24 h; at least 1 h. */
  readonly abandonedAfterMs?: number;
}

/**
 * Objects in an S3 bucket below a prefix. The SDK is loaded here, so that who never opens one does not pay for it.
 *
 * `put` of a small object is one request. A larger one goes in parts, whose completion makes it visible, whole: so what a large object takes in memory and
 * what is sent again after a fault is a part, and who calls `put` needs to know nothing of it.
 *
 * `putIfAbsent` is a put, or a completion, with `If-None-Match: *`. An answer that got lost is made up for: each such put carries a token of its own, so that
 * an object found afterwards is known to be ours or another's. `putIf` is the same with `If-Match`. The first put of each is sent twice, to learn whether the store honours the condition at all
 * (MR_STORE_NOT_CONDITIONAL); with `?conditional-writes=false` the store looks and then writes. A store that honours it on puts alone gets large objects in one.
 *
 * Errors: MR_INVALID_URI, MR_INVALID_OPTION, MR_STORE_NO_BUCKET, MR_STORE_DENIED, MR_STORE_UNAVAILABLE, MR_STORE_OPTION_REFUSED, MR_STORE_FAILED.
 */
export async function openS3Store(uri: URL | string, options: S3StoreOptions = {}): Promise<ObjectStore> {
  const text = String(uri);
  if (!/^s3:/i.test(text) || !URL.canParse(text)) {
    throw new MillraceError('MR_INVALID_URI', { uri: redactUrl(text), reason: 'it is no URL of the form s3://bucket/prefix' });
  }
  const location = s3LocationOf(new URL(text), process.env, options);
  const limits = limitsOf(options);
  const requests = new S3Requests(await import('@aws-sdk/client-s3'), location, options);
  try {
    await prove(requests);
    if (options.access !== 'read') await abortAbandoned(requests, limits.abandonedAfterMs);
    return new S3Store(requests, limits);
  } catch (error) {
    requests.close();
    throw error;
  }
}

const OPEN_RETRIES = 3;
const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;

/** Finds a missing bucket, credentials or endpoint before anything else is done. */
async function prove(requests: S3Requests): Promise<void> {
  const { client, sdk, location, http } = requests;
  const command = new sdk.ListObjectsV2Command({ Bucket: location.bucket, Prefix: location.prefix, MaxKeys: 1 });
  await requests.repeat('list', '', () => client.send(command, http), { most: OPEN_RETRIES });
}

interface Limits {
  readonly multipartBytes: number;
  readonly partBytes: number;
  readonly abandonedAfterMs: number;
}

function limitsOf({ multipartBytes = 16 * MIB, partBytes = 8 * MIB, abandonedAfterMs = 24 * HOUR_MS }: S3StoreOptions): Limits {
  const check = (option: string, value: number, min: number, max: number, bound: string) => {
    if (Number.isSafeInteger(value) && value >= min && value <= max) return;
    throw new MillraceError('MR_INVALID_OPTION', { option, value: String(value), bound });
  };
  check('multipartBytes', multipartBytes, 0, 5 * 1024 * MIB, 'a whole number of bytes, 0 to 5 GiB');
  check('partBytes', partBytes, 5 * MIB, 5 * 1024 * MIB, 'a whole number of bytes, 5 MiB to 5 GiB');
  check('abandonedAfterMs', abandonedAfterMs, HOUR_MS, Number.MAX_SAFE_INTEGER, 'a whole number of milliseconds, at least one hour');
  return { multipartBytes, partBytes, abandonedAfterMs };
}

class S3Store implements ObjectStore {
  readonly uri: string;
  readonly capabilities: StoreCapabilities;
  readonly #requests: S3Requests;
  readonly #limits: Limits;
  readonly #replacer: S3Replacer;
  /** Whether the store has shown that it honours If-None-Match on a put. */
  #isConditionProven = false;
  /** Whether it honours it on the completion of an upload; null: not tried. */
  #completesConditionally: Promise<boolean> | null = null;

  constructor(requests: S3Requests, limits: Limits) {
    this.#requests = requests;
    this.#limits = limits;
    this.#replacer = new S3Replacer(requests);
    this.uri = requests.location.shown;
    const kind = requests.location.conditionalWrites ? 'atomic' : 'probe';
    this.capabilities = { putIfAbsent: kind, conditionalPut: kind };
  }

  async put(key: string, body: ObjectBody): Promise<void> {
    checkKey(key);
    if (this.#isLarge(body)) {
      await this.#putInParts(key, body, false);
      return;
    }
    const payload = await this.#payload(key, body);
    await this.#requests.repeat('put', key, () => this.#send(key, payload));
  }

  async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    checkKey(key);
    const { conditionalWrites } = this.#requests.location;
    const isLarge = this.#isLarge(body);
    // Nobody waits for 64 MiB to be sent and refused.
    if (!conditionalWrites || !this.#isConditionProven || isLarge) {
      if (await this.exists(key)) return false;
    }
    if (!conditionalWrites) {
      await this.put(key, body);
      return true;
    }
    if (isLarge && (await this.#canCompleteConditionally())) return this.#putInParts(key, body, true);
    return this.#putConditionally(key, await this.#payload(key, body));
  }

  async putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    checkKey(key);
    const payload = await this.#payload(key, body);
    return this.#replacer.putIf(key, payload, expected);
  }

  async getVersioned(key: string): Promise<VersionedObject | null> {
    checkKey(key);
    return this.#requests.repeat('get', key, async () => {
      const found = await this.#fetch(key);
      if (found === null) return null;
      const chunks: Uint8Array[] = [];
      for await (const chunk of found.body) chunks.push(chunk);
      return { content: Buffer.concat(chunks), version: found.etag as ObjectVersion };
    });
  }

  async get(key: string): Promise<Buffer | null> {
    return (await this.getVersioned(key))?.content ?? null;
  }

  async read(key: string): Promise<AsyncIterable<Uint8Array> | null> {
    checkKey(key);
    const found = await this.#requests.repeat('get', key, () => this.#fetch(key));
    return found === null ? null : this.#chunksOf(key, found);
  }

  async exists(key: string): Promise<boolean> {
    checkKey(key);
    return (await this.#requests.repeat('head', key, () => this.#requests.head(key))) !== null;
  }

  async *folders(prefix: string, before?: string): AsyncGenerator<string> {
    checkFolder(prefix);
    for await (const { files, folders } of listPages(this.#requests, prefix, '/')) {
      for (const folder of folders) {
        const name = folder.slice(prefix.length, -1);
        if (before !== undefined && compareUtf8(name, before) >= 0) return;
        if (folder !== `${RESERVED_FOLDER}/`) yield name;
      }
      // Files and folders come in one order, so nothing that sorts before it is left.
      const last = files.at(-1)?.key.slice(prefix.length);
      if (before !== undefined && last !== undefined && compareUtf8(last, before) >= 0) return;
    }
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    checkPrefix(prefix);
    for await (const { files } of listPages(this.#requests, prefix)) {
      // What ends in a slash is a folder's placeholder that some tools make; what is reserved is no object.
      for (const file of files) if (!file.key.endsWith('/') && !file.key.startsWith(`${RESERVED_FOLDER}/`)) yield file;
    }
  }

  async delete(key: string): Promise<void> {
    checkKey(key);
    const { client, sdk, http } = this.#requests;
    await this.#requests.repeat('delete', key, async () => {
      try {
        await client.send(new sdk.DeleteObjectCommand(this.#requests.objectAt(key)), http);
      } catch (error) {
        if (!isAbsent(error)) throw error;
      }
    });
  }

  async close(): Promise<void> {
    this.#requests.close();
  }

  #isLarge(body: ObjectBody): boolean {
    return lengthOf(body) > this.#limits.multipartBytes;
  }

  #putInParts(key: string, body: ObjectBody, ifAbsent: boolean): Promise<boolean> {
    const { partBytes } = this.#limits;
    return putInParts(this.#requests, key, body, { partBytes, concurrency: this.#requests.location.flushConcurrency, ifAbsent });
  }

  #canCompleteConditionally(): Promise<boolean> {
    this.#completesConditionally ??= completesConditionally(this.#requests, RESERVED_FOLDER).catch((error: unknown) => {
      this.#completesConditionally = null;
      throw error;
    });
    return this.#completesConditionally;
  }

  async #putConditionally(key: string, payload: Payload): Promise<boolean> {
    const requests = this.#requests;
    const token = randomUUID();
    let isAnswerLost = false;
    const wasWritten = await requests.repeat('put', key, async () => {
      if (isAnswerLost) {
        const found = await requests.head(key);
        if (found !== null) return found.writer === token;
      }
      try {
        await this.#send(key, payload, token);
        return true;
      } catch (error) {
        if (isRefusedCondition(error)) return isAnswerLost && (await requests.head(key))?.writer === token;
        if (isUnsupportedCondition(error)) throw notConditional(this.#requests, 'If-None-Match', error);
        isAnswerLost ||= isTransient(error);
        throw error;
      }
    });
    if (wasWritten && !this.#isConditionProven) await this.#proveCondition(key, payload, token);
    return wasWritten;
  }

  /** Puts what is there already: refused by a store that honours the condition, without effect on one that does not. */
  async #proveCondition(key: string, payload: Payload, token: string): Promise<void> {
    const isHonoured = await this.#requests.repeat('put', key, async () => {
      try {
        await this.#send(key, payload, token);
        return false;
      } catch (error) {
        if (isRefusedCondition(error)) return true;
        throw error;
      }
    });
    if (!isHonoured) throw notConditional(this.#requests, 'If-None-Match');
    this.#isConditionProven = true;
  }

  async #payload(key: string, body: ObjectBody): Promise<Payload> {
    const pieces = await piecesOf(body, { key, uri: this.uri });
    return { pieces, checksum: checksumOf(pieces, this.#requests.location.checksum) };
  }

  /** One attempt to put; with a token only where there is no object yet. */
  async #send(key: string, payload: Payload, token?: string): Promise<void> {
    await sendObject(this.#requests, key, payload, token === undefined ? {} : { IfNoneMatch: '*', Metadata: { [WRITER]: token } });
  }

  async #fetch(key: string, from?: { readonly at: number; readonly etag: string }): Promise<Fetched | null> {
    try {
      const range = from === undefined ? {} : { Range: `bytes=${from.at}-`, IfMatch: from.etag };
      const { client, sdk, http } = this.#requests;
      const input = { ...this.#requests.objectAt(key), ...range };
      const { Body, ETag = '', ContentLength = 0 } = await client.send(new sdk.GetObjectCommand(input), http);
      return { body: Body as Readable, etag: ETag, bytes: ContentLength };
    } catch (error) {
      if (isAbsent(error)) return null;
      throw error;
    }
  }

  /**
   * The chunks of an object. When the connection breaks, the rest of the same version is asked for; what brings no byte more is repeated as a request is, and given up
   * like one.
   */
  async *#chunksOf(key: string, { body, etag, bytes }: Fetched): AsyncGenerator<Uint8Array> {
    let rest: AsyncIterator<Uint8Array> | null = chunksIn(body);
    let at = 0;
    const next = async () => {
      rest ??= chunksIn(await this.#restOf(key, at, etag));
      try {
        return await rest.next();
      } catch (error) {
        rest = null;
        if (at >= bytes && isTransient(error)) return { done: true, value: undefined } as const;
        throw error;
      }
    };
    try {
      for (;;) {
        const { done, value } = await this.#requests.repeat('get', key, next);
        if (done === true) return;
        at += value.length;
        yield value;
      }
    } finally {
      await rest?.return?.();
    }
  }

  async #restOf(key: string, at: number, etag: string): Promise<Readable> {
    const found = await this.#fetch(key, { at, etag });
    if (found !== null) return found.body;
    const reason = 'the object was deleted while it was read';
    throw new MillraceError('MR_STORE_FAILED', { operation: 'get', key, uri: this.uri, reason });
  }
}

function chunksIn(body: Readable): AsyncIterator<Uint8Array> {
  return (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
}

interface Fetched {
  readonly body: Readable;
  readonly etag: string;
  readonly bytes: number;
}
