import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { definePipeline, fileCheckpoint, run } from '../lib/index.ts';
import { postgres } from '../lib/sources/postgres/index.ts';
import { type ObjectStore, openStore } from '../lib/stores/index.ts';
import { cloudStorage } from '../pipelines/index.ts';
import { measureSelf } from './measured-process.ts';

// Drains what the slot holds (or takes the snapshot) into files, with the checkpoint, as a user's pipeline does. With a number of milliseconds at the end each
// write of an object takes that much longer, files are small, the resident memory is printed, and all ends after a minute.
const [url, name, target, stateDir, snapshot, protocol, delayMs] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  'initial' | 'never',
  'canal-json' | 'csv',
  string | undefined,
];

const uri = target.includes('://') ? target : pathToFileURL(target).href;
const pipeline = definePipeline({
  name,
  source: postgres({ url, slot: name, publication: 'bench', tables: ['public.bench'], snapshot }),
  stages: [],
  sink: cloudStorage(
    delayMs === undefined ? { uri, protocol } : { store: slow(await openStore(uri), Number(delayMs)), protocol, fileSize: '1MiB' },
  ),
  checkpoint: fileCheckpoint(stateDir),
});

await measureSelf(async () => {
  const running = run(pipeline, { until: 'caught-up' });
  if (delayMs !== undefined) setTimeout(() => void running.stop({ drain: false }), 60_000);
  let rows = 0;
  let seen = 0;
  running.status$.subscribe({
    next: (status) => {
      rows = status.rows;
      if (delayMs !== undefined && seen++ % 4 === 0) console.log(process.memoryUsage.rss() / 1024 / 1024);
    },
    error: () => {},
  });
  await running.done;
  return rows;
});

/** A store that takes its time over each object. */
function slow(store: ObjectStore, milliseconds: number): ObjectStore {
  return {
    uri: store.uri,
    capabilities: store.capabilities,
    putIf: async (key, body, expected) => {
      await sleep(milliseconds);
      return store.putIf(key, body, expected);
    },
    getVersioned: (key) => store.getVersioned(key),
    get: (key) => store.get(key),
    read: (key) => store.read(key),
    exists: (key) => store.exists(key),
    folders: (prefix, before) => store.folders(prefix, before),
    list: (prefix) => store.list(prefix),
    delete: (key) => store.delete(key),
    close: () => store.close(),
    put: async (key, body) => {
      await sleep(milliseconds);
      await store.put(key, body);
    },
    putIfAbsent: async (key, body) => {
      await sleep(milliseconds);
      return store.putIfAbsent(key, body);
    },
  };
}
