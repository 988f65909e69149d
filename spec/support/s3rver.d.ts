declare module 's3rver' {
  import type { IncomingMessage, ServerResponse } from 'node:http';
  import type { Readable } from 'node:stream';

  interface StoredObject {
    readonly bucket: string;
    readonly key: string;
    readonly content: Buffer | Readable;
    readonly metadata: Record<string, unknown>;
  }

  interface Store {
    existsObject(bucket: string, key: string): Promise<boolean>;
    getMetadata(bucket: string, key: string): Promise<{ readonly etag: string }>;
    getBucket(bucket: string): Promise<object | null>;
    putBucket(bucket: string): Promise<object>;
    listObjects(
      bucket: string,
      options: { prefix: string; maxKeys: number },
    ): Promise<{ readonly objects: readonly { readonly key: string; readonly size: number }[] }>;
    getResourcePath(bucket: string, key: string, resource: string): string;
    putMetadata(bucket: string, key: string, metadata: Record<string, unknown>, md5: string): Promise<void>;
    putObject(object: StoredObject): Promise<{ size: number; md5: string }>;
  }

  export default class S3rver {
    constructor(options: { directory: string; silent: boolean; vhostBuckets: boolean; allowMismatchedSignatures: boolean });
    readonly store: Store;
    readonly logger: { readonly exceptions: { unhandle(): void }; close(): void };
    callback(): (request: IncomingMessage, response: ServerResponse) => void;
  }
}

declare module 's3rver/lib/models/account.js' {
  const account: { readonly DUMMY_ACCOUNT: { createKeyPair(accessKeyId: string, secretAccessKey: string): void } };
  export default account;
}
