import { fileURLToPath } from 'node:url';
import { MillraceError, reasonOf } from '../errors.ts';
import { type Clock, systemClock } from '../flow/index.ts';
import { redactUrl } from '../redact.ts';
import { openFsStore } from './fs.ts';
import { MemoryStore } from './memory.ts';
import { noopStore } from './noop.ts';
import type { ObjectStore, StoreAccess } from './object-store.ts';
import { S3_PARAMETERS, s3LocationOf } from './s3-location.ts';

/** The query parameters that belong to the store, by scheme; others (the sink's options) are left to whoever opens it. */
export const STORE_PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  file: [],
  s3: S3_PARAMETERS,
  memory: [],
  noop: [],
};

/**
 * Opens the store that a URI names.
 *
 * - `file:///dir`: files below a folder, which is made if it is missing.
 * - `s3://bucket/prefix?endpoint=…&region=…&sse=…`: any S3; parameters as in `S3LocationOptions`. The endpoint is by default that of
 *   AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, else Amazon's; with an endpoint, path style is the default. Credentials come from the SDK's own chain, unless the
 *   URI has them: then `store.uri`, errors and logs do not.
 * - `memory://name`: the same store for the same name, as long as the process lives.
 * - `noop://`: accepts everything, keeps nothing.
 *
 * Errors: MR_INVALID_URI, and those of the store when it cannot be used (MR_STORE_UNWRITABLE, MR_STORE_NO_BUCKET, MR_STORE_DENIED, …).
 *
 * @param mode `read` makes nothing and asks for no right to write. Default `write`.
 */
export async function openStore(uri: string, clock: Clock = systemClock, mode: StoreAccess = 'write'): Promise<ObjectStore> {
  const url = parse(uri);
  switch (url.protocol) {
    case 'file:':
      return openFsStore(folderOf(url, uri), clock, mode);
    case 's3:': {
      const { openS3Store } = await import('./s3.ts');
      return openS3Store(url, { clock, access: mode });
    }
    case 'memory:':
      return memoryStore(url.host + url.pathname);
    case 'noop:':
      return noopStore();
    default:
      throw unsupported(url, uri);
  }
}

/** Looks at a store's URI without opening it, so that a wrong one is found before anything is made. @throws MR_INVALID_URI, MR_INVALID_OPTION. */
export function checkStoreUri(uri: string): void {
  const url = parse(uri);
  if (url.protocol === 'file:') folderOf(url, uri);
  else if (url.protocol === 's3:') s3LocationOf(url);
  else if (url.protocol !== 'memory:' && url.protocol !== 'noop:') throw unsupported(url, uri);
}

function parse(uri: string): URL {
  if (uri === '') throw new MillraceError('MR_INVALID_URI', { uri, reason: 'failed to open cloud storage sink, empty SinkURI' });
  let url: URL;
  try {
    url = new URL(uri);
  } catch {
    throw invalid(uri, 'it is no URL of the form scheme://…');
  }
  if (url.hash !== '') throw invalid(uri, 'it has a fragment; a # in a name is written %23');
  return url;
}

function folderOf(url: URL, uri: string): string {
  try {
    return fileURLToPath(Object.assign(new URL(url), { search: '' }));
  } catch (error) {
    throw invalid(uri, reasonOf(error));
  }
}

const memoryStores = new Map<string, MemoryStore>();

function memoryStore(name: string): MemoryStore {
  const store = memoryStores.get(name) ?? new MemoryStore(name);
  memoryStores.set(name, store);
  return store;
}

function unsupported({ protocol }: URL, uri: string): MillraceError {
  return invalid(uri, `can't create cloud storage sink with unsupported scheme: ${protocol.slice(0, -1)}`);
}

function invalid(uri: string, reason: string): MillraceError {
  return new MillraceError('MR_INVALID_URI', { uri: redactUrl(uri), reason });
}
