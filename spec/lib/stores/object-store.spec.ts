import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { MemoryStore, openStore } from '../../../lib/stores/index.ts';
import { describeObjectStore } from '../../../lib/testing/object-store-suite.ts';

describeObjectStore('memory', async () => {
  const store = new MemoryStore();
  return { store, another: async () => store, close: async () => {} };
});

describeObjectStore('fs', async () => {
  const root = await mkdtemp(join(tmpdir(), 'millrace-fs-'));
  const open = () => openStore(pathToFileURL(join(root, 'a folder', 'lake')).href);
  return { store: await open(), another: open, close: () => rm(root, { recursive: true }) };
});
