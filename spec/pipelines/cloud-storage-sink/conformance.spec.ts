import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { METADATA_PATH, parseMetadata, stringifyMetadata } from '../../../lib/formats/storage-layout/index.ts';
import { openFsStore } from '../../../lib/stores/fs.ts';
import { MemoryStore, type ObjectStore } from '../../../lib/stores/index.ts';
import { describeSink, GateStore, type SinkFixture } from '../../../lib/testing/index.ts';
import { type CloudStorageOptions, cloudStorage, listTables, readTable } from '../../../pipelines/index.ts';

const OPS = { I: 'insert', U: 'update', D: 'delete', T: 'truncate' } as const;

function fixtureOver(store: ObjectStore, options: Partial<CloudStorageOptions>, close: () => Promise<void>): SinkFixture {
  const gate = new GateStore(store);
  return {
    sink: cloudStorage({ store: gate, protocol: 'canal-json', flushInterval: '5s', ...options }),
    read: async () => {
      const found = [];
      const everything = withCheckpoint(store, 2n ** 63n);
      for (const table of await listTables(everything)) {
        for await (const changes of readTable(everything, table)) {
          found.push(...changes.map((change) => ({ ...change, table: `${change.schema}.${change.table}`, op: OPS[change.op] })));
        }
      }
      return found;
    },
    hold: () => gate.hold(),
    release: () => gate.release(),
    failNext: () => gate.failNext(),
    published: async () => {
      const metadata = await store.get(METADATA_PATH);
      return metadata === null ? null : parseMetadata(metadata.toString());
    },
    close,
  };
}

/** The store as it would be with this checkpoint: readers show nothing beyond it. */
function withCheckpoint(store: ObjectStore, checkpointTs: bigint): ObjectStore {
  return {
    uri: store.uri,
    capabilities: store.capabilities,
    put: (key, body) => store.put(key, body),
    putIfAbsent: (key, body) => store.putIfAbsent(key, body),
    putIf: (key, body, expected) => store.putIf(key, body, expected),
    getVersioned: (key) => store.getVersioned(key),
    get: async (key) => (key === METADATA_PATH ? Buffer.from(stringifyMetadata(checkpointTs)) : store.get(key)),
    read: (key) => store.read(key),
    exists: (key) => store.exists(key),
    folders: (prefix, before) => store.folders(prefix, before),
    list: (prefix) => store.list(prefix),
    delete: (key) => store.delete(key),
    close: () => store.close(),
  };
}

const VARIANTS: Readonly<Record<string, Partial<CloudStorageOptions>>> = {
  'canal-json': {},
  csv: { protocol: 'csv', csv: { includeCommitTs: true } },
  'small files': { fileSize: '1KiB', workerCount: 4 },
};

for (const [name, options] of Object.entries(VARIANTS)) {
  describeSink(`cloudStorage over memory, ${name}`, async () => fixtureOver(new MemoryStore(), options, async () => {}));
}

describeSink('cloudStorage over the file system', async () => {
  const root = await mkdtemp(join(tmpdir(), 'millrace-sink-'));
  const store = await openFsStore(join(root, 'lake'));
  return fixtureOver(store, {}, async () => {
    await store.close();
    await rm(root, { recursive: true });
  });
});
