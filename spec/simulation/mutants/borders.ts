import type { Checkpoint, CheckpointStore } from '../../../lib/index.ts';
import type {
  Disk,
  DiskFile,
  ObjectBody,
  ObjectDraft,
  ObjectInfo,
  ObjectStore,
  ObjectVersion,
  VersionedObject,
} from '../../../lib/stores/index.ts';
import type { Mutant } from '../mutants.ts';

/** What stands between the capture and its object store, its checkpoints and its disk. */
export const BORDER_MUTANTS: readonly Mutant[] = [
  {
    name: 'index before data',
    hazard: 'the index file names a data file that is not there yet (ticdc #3784: consumers lost rows)',
    breaks: ['published'],
    seeds: 3,
    parts: () => ({ store: (store) => new IndexFirst(store) }),
  },
  {
    name: 'a failed write counts as written',
    hazard: 'the error of a write is swallowed and its rows are acked (ticdc #3371, tiflow #12436: an ignored error of Close)',
    breaks: ['published', 'durable', 'liveness', 'drain', 'snapshot', 'readable', 'reader'],
    seeds: 20,
    plan: { storeFaults: { before: 0.05 } },
    parts: () => ({ store: (store) => new Swallowing(store) }),
  },
  {
    name: 'a begun file without what came later',
    hazard: 'rows that came while the file was written already are not in it, though what describes it names them',
    breaks: ['published'],
    seeds: 3,
    plan: { draftBytesMin: 1 },
    parts: () => ({ store: (store) => new ShortDrafts(store) }),
  },
  {
    name: 'a restart numbers from its own count',
    hazard:
      'the numbers of files begin where this run began and not where the target stands: published files are written over (ticdc #4177)',
    breaks: ['published'],
    seeds: 20,
    parts: () => ({ store: (store) => new Forgetting(store) }),
  },
  {
    name: 'an index without compare-and-set',
    hazard:
      'a stale epoch commits: a put that was given up comes late, behind those of the next run, and an index file goes back: what it named is hidden or written over',
    breaks: ['published', 'once', 'durable', 'reader'],
    seeds: 40,
    plan: { storeFaults: { timeout: 0.03, timeoutMs: 300, lateMs: [0, 1500], never: 0 } },
    parts: () => ({ store: (store) => new Unconditional(store) }),
  },
  {
    name: 'confirmed before it is stored',
    hazard:
      'the checkpoint is told to target and source while its save is under way: a crash, and the source has forgotten what is needed again',
    breaks: ['readable'],
    seeds: 5,
    parts: () => ({ checkpoint: (store) => hasty(store) }),
  },
  {
    name: 'a checkpoint that is not synced',
    hazard:
      'the checkpoint file is renamed into its place and never fsynced: after a power failure an older one is there, which the source has forgotten',
    breaks: ['readable', 'errors', 'reader'],
    seeds: 10,
    plan: { origin: 'postgres', checkpointOnDisk: true, nodeFaults: { crashEveryMs: 800, downMs: [0, 200] } },
    parts: () => ({ disk: (disk) => unsynced(disk) }),
  },
  {
    name: 'a checkpoint that goes back',
    hazard: 'saves overlap, and an older one that is late replaces a newer (ticdc #2943, #2945: a checkpoint that fell back lost data)',
    breaks: ['monotone', 'readable', 'reader'],
    seeds: 10,
    parts: () => ({ checkpoint: (store) => overlapping(store) }),
  },
];

/** A store that passes everything on; subclasses break one thing. */
class Passing implements ObjectStore {
  readonly uri;
  readonly capabilities;

  constructor(protected readonly store: ObjectStore) {
    this.uri = store.uri;
    this.capabilities = store.capabilities;
  }

  put(key: string, body: ObjectBody): Promise<void> {
    return this.store.put(key, body);
  }

  putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    return this.store.putIfAbsent(key, body);
  }

  putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    return this.store.putIf(key, body, expected);
  }

  getVersioned(key: string): Promise<VersionedObject | null> {
    return this.store.getVersioned(key);
  }

  get(key: string): Promise<Buffer | null> {
    return this.store.get(key);
  }

  read(key: string): Promise<AsyncIterable<Uint8Array> | null> {
    return this.store.read(key);
  }

  exists(key: string): Promise<boolean> {
    return this.store.exists(key);
  }

  folders(prefix: string, before?: string): AsyncIterable<string> {
    return this.store.folders(prefix, before);
  }

  list(prefix: string): AsyncIterable<ObjectInfo> {
    return this.store.list(prefix);
  }

  delete(key: string): Promise<void> {
    return this.store.delete(key);
  }

  close(): Promise<void> {
    return this.store.close();
  }
}

/** Data files are put when the index that names them is. */
class IndexFirst extends Passing {
  readonly #waiting: [key: string, body: ObjectBody][] = [];

  override async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    if (!DATA_FILE.test(key)) return super.putIfAbsent(key, body);
    this.#waiting.push([key, body]);
    return true;
  }

  override async putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    const version = await super.putIf(key, body, expected);
    if (key.endsWith('.index')) for (const [file, content] of this.#waiting.splice(0)) await super.putIfAbsent(file, content);
    return version;
  }
}

/** Writes never fail. */
class Swallowing extends Passing {
  override put(key: string, body: ObjectBody): Promise<void> {
    return super.put(key, body).catch(() => {});
  }

  override putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    return super.putIfAbsent(key, body).catch(() => true);
  }

  override putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    return super.putIf(key, body, expected).catch(() => '' as ObjectVersion);
  }
}

/** Writes index files whatever stands there. */
class Unconditional extends Passing {
  override async putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    if (!key.endsWith('.index')) return super.putIf(key, body, expected);
    await super.put(key, body);
    return (await super.getVersioned(key))?.version ?? null;
  }
}

/** Knows of no file from before. */
class Forgetting extends Passing {
  override async getVersioned(key: string): Promise<VersionedObject | null> {
    return /\/CDC[^/]*$/.test(key) ? null : super.getVersioned(key);
  }

  override async putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    if (!/\/CDC[^/]*$/.test(key)) return super.putIf(key, body, expected);
    await super.put(key, body);
    return '' as ObjectVersion;
  }

  override async exists(key: string): Promise<boolean> {
    return /\/CDC\d+\./.test(key) ? false : super.exists(key);
  }

  override async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    await super.put(key, body);
    return true;
  }
}

/** Of what is begun before it has a key only the first write counts. */
class ShortDrafts extends Passing {
  draft(): ObjectDraft {
    const draft = this.store.draft!()!;
    let writes = 0;
    return {
      write: async (pieces) => {
        if (++writes === 1) await draft.write(pieces);
      },
      putIfAbsent: (key) => draft.putIfAbsent(key),
      discard: () => draft.discard(),
    };
  }
}

const DATA_FILE = /\/CDC\d+\.(json|csv)$/;

/** Saves in the background. */
function hasty(store: CheckpointStore): CheckpointStore {
  return {
    ...passing(store),
    save: async (pipeline, checkpoint) => {
      store.save(pipeline, checkpoint).catch(() => {});
    },
  };
}

/** A save begins when it is asked for; every other one is put off until another one has passed. */
function overlapping(store: CheckpointStore): CheckpointStore {
  let waiting: Checkpoint | null = null;
  let count = 0;
  return {
    ...passing(store),
    save: async (pipeline, checkpoint) => {
      const late = waiting;
      waiting = ++count % 5 === 0 ? checkpoint : null;
      if (waiting !== null) return;
      await store.save(pipeline, checkpoint);
      if (late !== null) await store.save(pipeline, late);
    },
  };
}

function passing(store: CheckpointStore): CheckpointStore {
  return {
    name: store.name,
    load: (pipeline) => store.load(pipeline),
    save: (pipeline, checkpoint) => store.save(pipeline, checkpoint),
    close: async (pipeline) => store.close?.(pipeline),
  };
}

/** A disk whose syncs do nothing. */
function unsynced(disk: Disk): Disk {
  return new Proxy(disk, {
    get: (target, name) => {
      if (name === 'syncFolder') return async () => {};
      if (name !== 'open') return Reflect.get(target, name);
      return async (...args: Parameters<Disk['open']>): Promise<DiskFile> => {
        const file = await target.open(...args);
        return {
          write: (pieces) => file.write(pieces),
          read: (position, length) => file.read(position, length),
          sync: async () => {},
          close: () => file.close(),
        };
      };
    },
  });
}
