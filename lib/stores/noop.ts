import { chunksOf } from './body.ts';
import { checkKey, checkPrefix } from './keys.ts';
import type { ObjectBody, ObjectInfo, ObjectStore } from './object-store.ts';

/** Accepts everything and keeps nothing: what a pipeline costs without its target. */
export function noopStore(): ObjectStore {
  return {
    uri: NOOP_URI,
    capabilities: { putIfAbsent: 'atomic' },
    put: async (key, body) => {
      checkKey(key);
      await readAll(key, body);
    },
    putIfAbsent: async (key, body) => {
      checkKey(key);
      await readAll(key, body);
      return true;
    },
    get: async () => null,
    read: async () => null,
    exists: async () => false,
    // biome-ignore lint/correctness/useYield: there is nothing to list
    list: async function* (prefix): AsyncGenerator<ObjectInfo> {
      checkPrefix(prefix);
    },
    delete: async (key) => checkKey(key),
    close: async () => {},
  };
}

const NOOP_URI = 'noop://';

/** A body that is read from somewhere costs its reading here too. */
async function readAll(key: string, body: ObjectBody): Promise<void> {
  if (Array.isArray(body)) return;
  for await (const _ of chunksOf(body, { key, uri: NOOP_URI }));
}
