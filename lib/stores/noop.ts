import { checkKey, checkPrefix } from './keys.ts';
import type { ObjectBody, ObjectInfo, ObjectStore } from './object-store.ts';

/** Accepts everything and keeps nothing: what a pipeline costs without its target. */
export function noopStore(): ObjectStore {
  return {
    uri: 'noop://',
    capabilities: { putIfAbsent: 'atomic' },
    put: async (key: string, _body: ObjectBody) => checkKey(key),
    putIfAbsent: async (key) => {
      checkKey(key);
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
