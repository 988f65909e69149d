export * from './disk.ts';
export { openFsStore } from './fs.ts';
export { compareUtf8 } from './keys.ts';
export { MemoryStore } from './memory.ts';
export { nodeDisk } from './node-disk.ts';
export { noopStore } from './noop.ts';
export * from './object-store.ts';
export { checkStoreUri, openStore, STORE_PARAMETERS } from './open.ts';
