import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import S3rver from 's3rver';
import { compareUtf8 } from '../../lib/stores/index.ts';

/** What the proxy does with a request instead of passing it on. */
export type Fault =
  /** The connection breaks: before the request has an effect, or after it and in place of the answer. */
  | { readonly kind: 'cut'; readonly when: 'before' | 'after' }
  /** The answer breaks off behind this many bytes of its body. */
  | { readonly kind: 'truncate'; readonly bytes: number }
  | { readonly kind: 'status'; readonly status: number; readonly code?: string }
  /** Nothing happens until the promise resolves; then the request is passed on. */
  | { readonly kind: 'hold'; readonly until: Promise<void> };

export interface FaultRule {
  readonly method?: string;
  /** A part of the key. */
  readonly key?: string;
  /** How many requests it meets. Default 1. */
  readonly times?: number;
}

export interface SeenRequest {
  readonly method: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
}

/** s3rver over HTTP with the faults of a network in front of it. */
export interface S3Server {
  readonly endpoint: string;
  readonly bucket: string;
  /** Every request since the start, faults included. */
  readonly requests: SeenRequest[];
  /** What the server makes of If-None-Match: `honoured` at first. */
  conditions: 'honoured' | 'ignored' | 'unsupported';
  /** Keys on a page of a list, at most 1000. */
  pageSize: number;
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
  putWhole(s3rver);
  await s3rver.store.putBucket(bucket);
  const serve = s3rver.callback();
  const rules: { fault: Fault; rule: FaultRule; left: number }[] = [];
  const requests: SeenRequest[] = [];
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
    if (fault?.kind === 'status') return refuse(request, response, fault.status, fault.code ?? 'InjectedFault');
    if (fault?.kind === 'cut') breakOff(request, response, 0);
    if (fault?.kind === 'truncate') breakOff(request, response, fault.bytes);
    if (fault?.kind === 'hold') await fault.until;
    if (request.headers['if-none-match'] === '*' && server.conditions !== 'ignored') {
      if (server.conditions === 'unsupported') return refuse(request, response, 501, 'NotImplemented');
      // The condition is judged and the object written in one step.
      const turn = turns.get(seen.key) ?? Promise.resolve();
      turns.set(
        seen.key,
        // Who asked may be gone already.
        turn.then(() => (response.closed ? undefined : new Promise((done) => response.once('close', done)))),
      );
      await turn;
      if (await s3rver.store.existsObject(bucket, seen.key)) return refuse(request, response, 412, 'PreconditionFailed');
    }
    if (seen.query.get('list-type') === '2') return list(request, response, seen.query);
    serve(request, response);
  }

  /** s3rver's own list follows its folders, not the order of keys, and its page tokens need a cipher that OpenSSL 3 no longer has. */
  async function list(request: IncomingMessage, response: ServerResponse, query: URLSearchParams): Promise<void> {
    const name = new URL(request.url!, 'http://localhost').pathname.split('/')[1]!;
    if (!(await s3rver.store.getBucket(name))) return refuse(request, response, 404, 'NoSuchBucket');
    const { objects } = await s3rver.store.listObjects(name, { prefix: query.get('prefix') ?? '', maxKeys: Number.POSITIVE_INFINITY });
    const after = query.get('continuation-token');
    const from = after === null ? '' : Buffer.from(after, 'base64').toString();
    const left = objects.filter(({ key }) => compareUtf8(key, from) > 0).sort((a, b) => compareUtf8(a.key, b.key));
    const page = left.slice(0, Math.min(server.pageSize, Number(query.get('max-keys') ?? 1000)));
    const isTruncated = page.length < left.length;
    const contents = page.map(({ key, size }) => `<Contents><Key>${encodeKey(key)}</Key><Size>${size}</Size></Contents>`).join('');
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
    pageSize: 1000,
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
  return { method: request.method!, key, query: searchParams, headers: request.headers };
}

function fits({ method, key }: FaultRule, seen: SeenRequest): boolean {
  const about = seen.query.get('prefix') ?? seen.key;
  return (method === undefined || method === seen.method) && (key === undefined || about.includes(key));
}

function refuse(request: IncomingMessage, response: ServerResponse, status: number, code: string): void {
  request.resume();
  response.writeHead(status, { 'content-type': 'application/xml' });
  const hasBody = request.method !== 'HEAD';
  response.end(hasBody ? `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}, says the proxy</Message></Error>` : undefined);
}

/** Lets the request have its effect and breaks the connection in its answer. */
function breakOff(request: IncomingMessage, response: ServerResponse, bytes: number): void {
  const write = response.write.bind(response) as (chunk: Uint8Array, done: () => void) => boolean;
  let left = bytes;
  let isBroken = false;
  const send = (chunk: unknown) => {
    if (isBroken) return false;
    const part = Buffer.isBuffer(chunk) ? chunk.subarray(0, left) : Buffer.alloc(0);
    left -= part.length;
    if (left > 0 && Buffer.isBuffer(chunk)) return write(part, () => {});
    isBroken = true;
    if (part.length === 0) request.socket.destroy();
    else write(part, () => request.socket.destroy());
    return false;
  };
  response.write = send as typeof response.write;
  response.end = ((chunk: unknown) => {
    send(chunk);
    request.socket.destroy();
    return response;
  }) as typeof response.end;
}

/** As S3 does in a list with `encoding-type=url`. */
function encodeKey(key: string): string {
  return encodeURIComponent(key).replaceAll('%20', '+').replaceAll('%2F', '/');
}

/** s3rver answers a put before its file is whole, and lets readers see the parts; S3 does neither. */
function putWhole({ store }: S3rver): void {
  let made = 0;
  store.putObject = async ({ bucket, key, content, metadata }) => {
    const body = Buffer.isBuffer(content) ? content : await buffer(content);
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
