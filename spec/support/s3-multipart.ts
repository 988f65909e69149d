import { createHash, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { crc32 } from 'node:zlib';
import type { SeenRequest } from './s3.ts';

/** An upload that was begun and neither completed nor aborted. */
export interface OpenUpload {
  readonly id: string;
  readonly key: string;
  readonly begun: Date;
  readonly parts: Map<number, Buffer>;
  /** Of its beginning: how the object is to be kept. */
  readonly headers: IncomingMessage['headers'];
}

/**
 * Multipart uploads as S3 has them: sizes, order, ETags and checksums of the parts are checked, and the object appears when they are completed. s3rver knows
 * no list of uploads and no abort, and shows an object while it is put together.
 */
export class MultipartUploads {
  readonly open = new Map<string, OpenUpload>();
  /** Uploads on a page of a list. */
  pageSize = 1000;
  readonly #bucket: string;
  readonly #put: (key: string, content: Buffer, headers: IncomingMessage['headers']) => Promise<void>;

  constructor(bucket: string, put: (key: string, content: Buffer, headers: IncomingMessage['headers']) => Promise<void>) {
    this.#bucket = bucket;
    this.#put = put;
  }

  begin(key: string, begun = new Date(), headers: IncomingMessage['headers'] = {}): OpenUpload {
    const upload = { id: randomUUID(), key, begun, parts: new Map<number, Buffer>(), headers };
    this.open.set(upload.id, upload);
    return upload;
  }

  /** Answers a request that is about uploads. */
  async answer(request: IncomingMessage, response: ServerResponse, seen: SeenRequest): Promise<void> {
    const body = await buffer(request);
    const [status, content, headers] = await this.#answer(request, seen, body);
    response.writeHead(status, { 'content-type': 'application/xml', ...headers });
    response.end(content === '' ? undefined : `<?xml version="1.0" encoding="UTF-8"?>${content}`);
  }

  async #answer(request: IncomingMessage, { operation, key, query }: SeenRequest, body: Buffer): Promise<Answer> {
    if (operation === 'CreateMultipartUpload') {
      const { id } = this.begin(key, new Date(), request.headers);
      return [200, `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`];
    }
    if (operation === 'ListMultipartUploads') return this.#list(query);
    const upload = this.open.get(query.get('uploadId') ?? '');
    if (upload === undefined || upload.key !== key) return refusal(404, 'NoSuchUpload');
    if (operation === 'AbortMultipartUpload') {
      this.open.delete(upload.id);
      return [204, ''];
    }
    if (operation === 'CompleteMultipartUpload') return this.#complete(request, upload, body.toString());
    if (!areChecksumsRight(request.headers, body)) return refusal(400, 'BadDigest');
    upload.parts.set(Number(query.get('partNumber')), body);
    return [200, '', { etag: etagOf(body) }];
  }

  async #complete({ headers }: IncomingMessage, upload: OpenUpload, list: string): Promise<Answer> {
    const named = [...list.matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = '']) => ({
      number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
      etag: /<ETag>(.*?)<\/ETag>/.exec(part)?.[1]?.replaceAll('&quot;', '"'),
    }));
    const parts = named.map(({ number }) => upload.parts.get(number) ?? Buffer.alloc(0));
    if (named.some(({ number, etag }, i) => number !== i + 1 || etag !== etagOf(parts[i]!))) return refusal(400, 'InvalidPart');
    if (parts.slice(0, -1).some(({ length }) => length < 5 * 1024 * 1024)) return refusal(400, 'EntityTooSmall');
    const content = Buffer.concat(parts);
    const size = headers['x-amz-mp-object-size'];
    if (size !== undefined && Number(size) !== content.length) return refusal(400, 'InvalidRequest');
    if (!areChecksumsRight({ 'x-amz-checksum-crc32': headers['x-amz-checksum-crc32'] }, content)) return refusal(400, 'BadDigest');
    await this.#put(upload.key, content, upload.headers);
    this.open.delete(upload.id);
    return [200, `<CompleteMultipartUploadResult><ETag>&quot;${named.length}&quot;</ETag></CompleteMultipartUploadResult>`];
  }

  #list(query: URLSearchParams): Answer {
    const prefix = query.get('prefix') ?? '';
    const after = query.get('upload-id-marker') ?? '';
    const sorted = [...this.open.values()].filter(({ key }) => key.startsWith(prefix)).sort((a, b) => (a.id < b.id ? -1 : 1));
    const left = sorted.filter(({ id }) => id > after);
    const page = left.slice(0, this.pageSize);
    const last = page.at(-1);
    const next =
      last !== undefined && page.length < left.length
        ? `<IsTruncated>true</IsTruncated><NextKeyMarker>${last.key}</NextKeyMarker><NextUploadIdMarker>${last.id}</NextUploadIdMarker>`
        : '<IsTruncated>false</IsTruncated>';
    const uploads = page.map(
      ({ id, key, begun }) => `<Upload><Key>${key}</Key><UploadId>${id}</UploadId><Initiated>${begun.toISOString()}</Initiated></Upload>`,
    );
    return [200, `<ListMultipartUploadsResult><Bucket>${this.#bucket}</Bucket>${next}${uploads.join('')}</ListMultipartUploadsResult>`];
  }
}

type Answer = [status: number, content: string, headers?: Record<string, string>];

/** Whether the body is what its headers say; each kind where it is given. */
export function areChecksumsRight(headers: IncomingMessage['headers'], body: Buffer): boolean {
  const { 'content-md5': md5, 'x-amz-checksum-crc32': crc } = headers;
  if (md5 !== undefined && md5 !== createHash('md5').update(body).digest('base64')) return false;
  return crc === undefined || crc === crc32Of(body);
}

export function crc32Of(body: Buffer): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(body));
  return bytes.toString('base64');
}

function etagOf(body: Buffer): string {
  return `"${createHash('md5').update(body).digest('hex')}"`;
}

function refusal(status: number, code: string): Answer {
  return [status, `<Error><Code>${code}</Code><Message>${code}, says the server</Message></Error>`];
}
