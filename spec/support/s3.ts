import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import S3rver from 's3rver';
import account from 's3rver/lib/models/account.js';
import { compareUtf8 } from '../../lib/stores/index.ts';
import { areChecksumsRight, crc32Of, MultipartUploads } from './s3-multipart.ts';

/** What the proxy does with a request instead of passing it on. */
export type Fault =
  /** The connection breaks: before the request has an effect, or after it and in place of the answer. */
  | { readonly kind: 'cut'; readonly when: 'before' | 'after' }
  /** The connection breaks when so many bytes of the request's body have come. */
  | { readonly kind: 'cut'; readonly when: 'during'; readonly bytes: number }
  /** The answer is 200 with this body, before the request has an effect or after it: S3 says 200 to a completion before it knows. */
  | { readonly kind: 'answer'; readonly when: 'before' | 'after'; readonly body: string }
  /** The answer breaks off behind this many bytes of its body. */
  | { readonly kind: 'truncate'; readonly bytes: number }
  | { readonly kind: 'status'; readonly status: number; readonly code?: string }
  /** Nothing happens until the promise resolves; then the request is passed on. */
  | { readonly kind: 'hold'; readonly until: Promise<void> };

export interface FaultRule {
  readonly method?: string;
  readonly operation?: S3Operation;
  /** Of a multipart upload. */
  readonly part?: number;
  /** A part of the key. */
  readonly key?: string;
  /** How many requests it meets. Default 1. */
  readonly times?: number;
}

/** As S3 calls them; those of a multipart upload apart. */
export type S3Operation =
  | 'CreateMultipartUpload'
  | 'UploadPart'
  | 'CompleteMultipartUpload'
  | 'AbortMultipartUpload'
  | 'ListMultipartUploads'
  | 'other';

export interface SeenRequest {
  readonly method: string;
  readonly operation: S3Operation;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  /** As it was sent, without host. */
  readonly url: string;
}

export type Conditions = 'honoured' | 'ignored' | 'unsupported';

/** s3rver over HTTP with the faults of a network in front of it. */
export interface S3Server {
  readonly endpoint: string;
  readonly bucket: string;
  /** Every request since the start, faults included. */
  readonly requests: SeenRequest[];
  /** What the server makes of If-None-Match: `honoured` at first. */
  conditions: Conditions;
  /** The same for completions of multipart uploads. */
  completions: Conditions;
  /** The same of If-Match on a put. */
  replacements: Conditions;
  readonly uploads: MultipartUploads;
  /** CRC32 of the objects, by key, as it is said to who asks. */
  readonly checksums: Map<string, string>;
  /** Keys on a page of a list, at most 1000. */
  pageSize: number;
  /** Lets in who signs with this key, beside the one of `env`; other keys are refused on objects. Signatures are not judged. */
  allow(accessKey: string): void;
  /** For a child process that talks to it; set in this one too. */
  readonly env: Readonly<Record<string, string>>;
  /** `s3://bucket/prefix?endpoint=…`, with more parameters if given. */
  uri(prefix?: string, parameters?: Readonly<Record<string, string>>): string;
  /** Puts small objects under these keys, without HTTP. */
  seed(keys: readonly string[]): Promise<void>;
  /** The next requests that fit meet this fault. Rules are asked in the order they were given. */
  inject(fault: Fault, rule?: FaultRule): void;
  /** Takes back all rules. */
  heal(): void;
  close(): Promise<void>;
}

const ENV = {
  AWS_ACCESS_KEY_ID: 'S3RVER',
  AWS_SECRET_ACCESS_KEY: 'S3RVER',
  AWS_REGION: 'us-east-1',
  AWS_EC2_METADATA_DISABLED: 'true',
};

export async function startS3(bucket = 'lake'): Promise<S3Server> {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-s3-'));
  const s3rver = new S3rver({ directory, silent: true, vhostBuckets: false, allowMismatchedSignatures: true });
  const checksums = new Map<string, string>();
  putWhole(s3rver, checksums);
  await s3rver.store.putBucket(bucket);
  const serve = s3rver.callback();
  const rules: { fault: Fault; rule: FaultRule; left: number }[] = [];
  const requests: SeenRequest[] = [];
  const uploads = new MultipartUploads(bucket, async (key, content, metadata) => {
    await s3rver.store.putObject({ bucket, key, content, metadata: kept(metadata) });
  });
  const turns = new Map<string, Promise<void>>();

  const http = createServer((request, response) => {
    const seen = read(request, bucket);
    requests.push(seen);
    const met = rules.find(({ rule, left }) => left > 0 && fits(rule, seen));
    if (met) met.left--;
    answer(request, response, seen, met?.fault).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });

  async function answer(request: IncomingMessage, response: ServerResponse, seen: SeenRequest, fault?: Fault): Promise<void> {
    if (fault?.kind === 'cut' && fault.when === 'before') return void request.socket.destroy();
    if (fault?.kind === 'cut' && fault.when === 'during') return cutDuring(request, fault.bytes);
    if (fault?.kind === 'answer' && fault.when === 'before') return say(request, response, fault.body);
    if (fault?.kind === 'answer') sayInstead(response, fault.body);
    if (fault?.kind === 'status') return refuse(request, response, fault.status, fault.code ?? 'InjectedFault');
    if (fault?.kind === 'cut') breakOff(request, response, null);
    if (fault?.kind === 'truncate') breakOff(request, response, fault.bytes);
    if (fault?.kind === 'hold') await fault.until;
    const conditions = seen.operation === 'CompleteMultipartUpload' ? server.completions : server.conditions;
    const { 'if-none-match': absent, 'if-match': expected } = request.headers;
    const isConditional = absent === '*' || (expected !== undefined && request.method !== 'GET');
    if (isConditional && (absent === '*' ? conditions : server.replacements) !== 'ignored') {
      if ((absent === '*' ? conditions : server.replacements) === 'unsupported') return refuse(request, response, 501, 'NotImplemented');
      // The condition is judged and the object written in one step.
      const turn = turns.get(seen.key) ?? Promise.resolve();
      turns.set(
        seen.key,
        // Who asked may be gone already.
        turn.then(() => (response.closed ? undefined : new Promise((done) => response.once('close', done)))),
      );
      await turn;
      const isThere = await s3rver.store.existsObject(bucket, seen.key);
      if (absent === '*' && isThere) return refuse(request, response, 412, 'PreconditionFailed');
      if (expected !== undefined) {
        if (!isThere) return refuse(request, response, 404, 'NoSuchKey');
        const { etag } = await s3rver.store.getMetadata(bucket, seen.key);
        if (expected !== etag) return refuse(request, response, 412, 'PreconditionFailed');
      }
    }
    if (seen.operation !== 'other') return uploads.answer(request, response, seen);
    if (seen.query.get('list-type') === '2') return list(request, response, seen.query);
    const checksum = checksums.get(seen.key);
    const isWhole = seen.method === 'GET' && request.headers.range === undefined;
    if (isWhole && checksum !== undefined && request.headers['x-amz-checksum-mode'] === 'ENABLED') {
      response.setHeader('x-amz-checksum-crc32', checksum);
    }
    serve(request, response);
  }

  /** s3rver's own list follows its folders, not the order of keys, and its page tokens need a cipher that OpenSSL 3 no longer has. */
  async function list(request: IncomingMessage, response: ServerResponse, query: URLSearchParams): Promise<void> {
    const name = new URL(request.url!, 'http://localhost').pathname.split('/')[1]!;
    if (!(await s3rver.store.getBucket(name))) return refuse(request, response, 404, 'NoSuchBucket');
    const { objects } = await s3rver.store.listObjects(name, { prefix: query.get('prefix') ?? '', maxKeys: Number.POSITIVE_INFINITY });
    const after = query.get('continuation-token');
    const from = after === null ? '' : Buffer.from(after, 'base64').toString();
    const entries = withFolders(objects, query.get('prefix') ?? '', query.get('delimiter'));
    const left = entries.filter(({ key }) => compareUtf8(key, from) > 0).sort((a, b) => compareUtf8(a.key, b.key));
    const page = left.slice(0, Math.min(server.pageSize, Number(query.get('max-keys') ?? 1000)));
    const isTruncated = page.length < left.length;
    const contents = page
      .map(({ key, size }) =>
        size === null
          ? `<CommonPrefixes><Prefix>${encodeKey(key)}</Prefix></CommonPrefixes>`
          : `<Contents><Key>${encodeKey(key)}</Key><Size>${size}</Size></Contents>`,
      )
      .join('');
    const token = isTruncated ? `<NextContinuationToken>${Buffer.from(page.at(-1)!.key).toString('base64')}</NextContinuationToken>` : '';
    const body = `<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>${isTruncated}</IsTruncated>${token}${contents}</ListBucketResult>`;
    response.writeHead(200, { 'content-type': 'application/xml' });
    response.end(`<?xml version="1.0" encoding="UTF-8"?>${body}`);
  }

  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  Object.assign(process.env, ENV);
  const server: S3Server = {
    endpoint,
    bucket,
    requests,
    conditions: 'honoured',
    completions: 'honoured',
    replacements: 'honoured',
    uploads,
    checksums,
    pageSize: 1000,
    allow: (accessKey) => account.DUMMY_ACCOUNT.createKeyPair(accessKey, ''),
    env: ENV,
    uri: (prefix = '', parameters = {}) => `s3://${bucket}/${prefix}?${new URLSearchParams({ endpoint, ...parameters })}`,
    seed: async (keys) => {
      for (const key of keys) await s3rver.store.putObject({ bucket, key, content: Buffer.from('1'), metadata: {} });
    },
    inject: (fault, rule = {}) => void rules.push({ fault, rule, left: rule.times ?? 1 }),
    heal: () => void rules.splice(0),
    close: async () => {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
      s3rver.logger.exceptions.unhandle();
      s3rver.logger.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
  return server;
}

function read(request: IncomingMessage, bucket: string): SeenRequest {
  const { pathname, searchParams } = new URL(request.url!, 'http://localhost');
  const key = decodeURIComponent(pathname).slice(`/${bucket}/`.length);
  const method = request.method!;
  const { headers, url = '' } = request;
  return { method, operation: operationOf(method, searchParams), key, query: searchParams, headers, url };
}

function operationOf(method: string, query: URLSearchParams): S3Operation {
  if (query.has('uploads')) return method === 'GET' ? 'ListMultipartUploads' : 'CreateMultipartUpload';
  if (!query.has('uploadId')) return 'other';
  return method === 'PUT' ? 'UploadPart' : method === 'POST' ? 'CompleteMultipartUpload' : 'AbortMultipartUpload';
}

function fits({ method, operation, part, key }: FaultRule, seen: SeenRequest): boolean {
  const about = seen.query.get('prefix') ?? seen.key;
  return (
    (method === undefined || method === seen.method) &&
    (operation === undefined || operation === seen.operation) &&
    (part === undefined || String(part) === seen.query.get('partNumber')) &&
    (key === undefined || about.includes(key))
  );
}

function cutDuring(request: IncomingMessage, bytes: number): void {
  let left = bytes;
  request.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left <= 0) request.socket.destroy();
  });
}

function say(request: IncomingMessage, response: ServerResponse, body: string): void {
  request.resume();
  response.writeHead(200, { 'content-type': 'application/xml' });
  response.end(body);
}

/** Lets the request have its effect and says something else. */
function sayInstead(response: ServerResponse, body: string): void {
  const { writeHead, end } = response;
  response.writeHead = (() => response) as typeof response.writeHead;
  response.write = () => true;
  response.end = (() => {
    writeHead.call(response, 200, { 'content-type': 'application/xml' });
    return end.call(response, body, 'utf8');
  }) as typeof response.end;
}

/** The headers of a request that S3 keeps with the object. */
function kept(headers: IncomingMessage['headers']): Record<string, string> {
  const entries = Object.entries(headers).filter(([name]) => name.startsWith('x-amz-meta-') || name === 'content-type');
  return Object.fromEntries(entries.map(([name, value]) => [name, String(value)]));
}

function refuse(request: IncomingMessage, response: ServerResponse, status: number, code: string): void {
  request.resume();
  response.writeHead(status, { 'content-type': 'application/xml' });
  const hasBody = request.method !== 'HEAD';
  response.end(hasBody ? `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}, says the proxy</Message></Error>` : undefined);
}

/** Lets the request have its effect and breaks the connection in its answer: behind so many bytes of the body, null for before it has begun. */
function breakOff(request: IncomingMessage, response: ServerResponse, bytes: number | null): void {
  const write = response.write.bind(response) as (chunk: Uint8Array, done: () => void) => boolean;
  let left = bytes ?? 0;
  let isBroken = false;
  const send = (chunk: unknown) => {
    if (isBroken) return false;
    const part = Buffer.isBuffer(chunk) ? chunk.subarray(0, left) : Buffer.alloc(0);
    left -= part.length;
    if (left > 0 && Buffer.isBuffer(chunk)) return write(part, () => {});
    isBroken = true;
    if (part.length > 0) write(part, () => request.socket.destroy());
    else {
      if (bytes !== null) response.flushHeaders();
      request.socket.destroySoon();
    }
    return false;
  };
  response.write = send as typeof response.write;
  response.end = ((chunk: unknown) => {
    send(chunk);
    request.socket.destroy();
    return response;
  }) as typeof response.end;
}

/** What is behind a delimiter shows as one folder, without a size. */
function withFolders(objects: readonly { readonly key: string; readonly size: number }[], prefix: string, delimiter: string | null) {
  const entries = new Map<string, { key: string; size: number | null }>();
  for (const { key, size } of objects) {
    const at = delimiter === null ? -1 : key.indexOf(delimiter, prefix.length);
    const shown = at < 0 ? { key, size } : { key: key.slice(0, at + 1), size: null };
    entries.set(shown.key, shown);
  }
  return [...entries.values()];
}

/** As S3 does in a list with `encoding-type=url`. */
function encodeKey(key: string): string {
  return encodeURIComponent(key).replaceAll('%20', '+').replaceAll('%2F', '/');
}

/** s3rver answers a put before its file is whole, and lets readers see the parts; S3 does neither. */
function putWhole({ store }: S3rver, checksums: Map<string, string>): void {
  let made = 0;
  store.putObject = async ({ bucket, key, content, metadata }) => {
    const body = Buffer.isBuffer(content) ? content : await buffer(content);
    if (content instanceof IncomingMessage && !areChecksumsRight(content.headers, body)) throw new Error('BadDigest');
    checksums.set(key, crc32Of(body));
    const path = store.getResourcePath(bucket, key, 'object');
    const temporary = `${path}.${++made}`;
    await mkdir(dirname(path), { recursive: true });
    await writeFile(temporary, body);
    const md5 = createHash('md5').update(body).digest('hex');
    await store.putMetadata(bucket, key, metadata, md5);
    await rename(temporary, path);
    return { size: body.length, md5 };
  };
}
