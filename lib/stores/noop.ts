import { chunksOf } from './body.ts';
import { checkFolder, checkKey, checkPrefix } from './keys.ts';
import type { ObjectBody, ObjectInfo, ObjectStore, ObjectVersion } from './object-store.ts';

/** Accepts everything and keeps nothing: what a pipeline costs without its target. */
export function noopStore(): ObjectStore {
  return {
    uri: NOOP_URI,
    capabilities: { putIfAbsent: 'atomic', conditionalPut: 'atomic' },
    put: async (key, body) => {
      checkKey(key);
      await readAll(key, body);
    },
    putIfAbsent: async (key, body) => {
      checkKey(key);
      await readAll(key, body);
      return true;
    },
    putIf: async (key, body) => {
      checkKey(key);
      await readAll(key, body);
      return NOTHING;
    },
    getVersioned: async () => null,
    get: async () => null,
    read: async () => null,
    exists: async () => false,
    // biome-ignore lint/correctness/useYield: there is nothing to list
    folders: async function* (prefix): AsyncGenerator<string> {
      checkFolder(prefix);
    },
    // biome-ignore lint/correctness/useYield: there is nothing to list
    list: async function* (prefix): AsyncGenerator<ObjectInfo> {
      checkPrefix(prefix);
    },
    delete: async (key) => checkKey(key),
    close: async () => {},
  };
}

const NOOP_URI = 'noop://';
const NOTHING = '' as ObjectVersion;

/** A body that is read from somewhere costs its reading here too. */
async function readAll(key: string, body: ObjectBody): Promise<void> {
  if (Array.isArray(body)) return;
  for await (const _ of chunksOf(body, { key, uri: NOOP_URI }));
}
