import { Observable } from 'rxjs';
import type { DrainMarker } from '../../../lib/events/index.ts';
import { link, type Operator, operator } from '../../../lib/flow/index.ts';
import type { Entry } from '../../../lib/spool/entry.ts';
import type { Spool, SpoolEntry } from '../../../lib/spool/index.ts';
import type { Disk, DiskFile } from '../../../lib/stores/index.ts';
import { SINK_OPERATORS as HONEST } from '../../../pipelines/cloud-storage-sink/cloud-storage.ts';
import type { EncodedRows } from '../../../pipelines/cloud-storage-sink/rows/encoded-rows.ts';
import type { SpooledRows } from '../../../pipelines/cloud-storage-sink/rows/spool-rows.ts';
import type { Plan, SpoolPlan } from '../capture/plan.ts';
import type { Mutant } from '../mutants.ts';

/** Broken spools, and disks that make a spool of the sink a broken one. */
export const SPOOL_MUTANTS: readonly Mutant[] = [
  {
    name: 'acked when it is on disk',
    hazard: 'rows that the spool has written count as durable, as if it were a log: a crash loses them (spec storage-sink §2: no WAL)',
    breaks: ['durable', 'group', 'snapshot'],
    seeds: 3,
    plan: spilling(),
    parts: broken((spool) => ({
      enqueue: (message, pass) =>
        spool.enqueue(message, (entry) => {
          message.ack.addPostEnqueue(() => {
            if (entry.state === 'disk') message.ack.postFlush();
          });
          pass?.(entry);
        }),
    })),
  },
  {
    name: 'memory overtakes the disk',
    hazard: 'rows go on when they are accepted: what found room in memory passes what is still being written',
    breaks: ['order', 'reader', 'drain', 'durable', 'group', 'liveness'],
    seeds: 15,
    plan: spilling({ memoryBytes: 400, latencyMs: [1, 20] }),
    parts: ({ operators }) => ({ operators: { ...operators, spoolRows: (spool) => overtaking(HONEST.spoolRows(spool)) } }),
  },
  {
    name: 'a file in another order than its rows',
    hazard: 'what is read back from disk is put together last first',
    breaks: ['reader', 'rows'],
    seeds: 10,
    plan: spilling(),
    parts: broken((spool) => ({
      read: (entries) => spool.read(entries.toReversed()),
      held: (entries) => spool.held(entries.toReversed()),
      checksumOf: (entries, before) => spool.checksumOf(entries.toReversed(), before),
    })),
  },
  {
    name: 'a corrupt blob goes to the target',
    hazard: 'what the disk gives back is not checked (spec storage-sink §2.7 (!): no checksum)',
    breaks: ['published'],
    seeds: 10,
    plan: spilling({ faults: { corrupts: 0.1 } }),
    parts: broken(() => ({ read: unchecked })),
  },
  {
    name: 'an old spool is gone on with',
    hazard: 'the folder is not emptied at the start, and files of an earlier run are written on',
    breaks: ['spool', 'errors'],
    seeds: 10,
    plan: { ...spilling(), nodeFaults: { killEveryMs: 700, downMs: [0, 100] } },
    parts: () => ({
      spoolDisk: (disk) => diskWith(disk, { list: async () => [], open: (path, flags) => disk.open(path, flags === 'wx' ? 'a' : flags) }),
    }),
  },
  {
    name: 'files that nobody needs stay',
    hazard: 'a file is forgotten without being removed: the quota bounds what is counted, and the disk fills up',
    breaks: ['spool'],
    seeds: 5,
    plan: spilling(),
    parts: () => ({ spoolDisk: (disk) => diskWith(disk, { remove: async () => {} }) }),
  },
  {
    name: 'a file is closed when the next is begun',
    hazard: 'rotation closes the file that was written, though entries in it are still to be read',
    breaks: ['errors'],
    seeds: 5,
    plan: spilling(),
    parts: () => ({ spoolDisk: closing }),
  },
  {
    name: 'a full disk is taken for a write',
    hazard: 'ENOSPC is swallowed, and the rows count as on disk',
    breaks: ['errors'],
    seeds: 20,
    plan: spilling({ faults: { full: 0.1, fullMs: [10, 200] } }),
    parts: () => ({ spoolDisk: swallowing }),
  },
];

/** A row or none stays in memory. */
function spilling(parts: Partial<SpoolPlan> = {}): Partial<Plan> {
  const disk = { capacityBytes: Number.POSITIVE_INFINITY, latencyMs: [0, 2], faults: {} } as const;
  return {
    origin: 'postgres',
    memory: { high: 3000, low: 2000 },
    spool: { memoryBytes: 1, diskQuotaBytes: 4000, segmentBytes: 1000, ...disk, ...parts },
    losesSlot: false,
    // Whatever begins a file early reads the spool as it is.
    draftBytesMin: null,
  };
}

type BrokenSpool = Partial<Pick<Spool, 'enqueue' | 'read' | 'held' | 'checksumOf'>>;

/** The sink over a spool that does these otherwise. */
function broken(how: (spool: Spool) => BrokenSpool): Mutant['parts'] {
  const instead = (spool: Spool): Spool => {
    const methods = how(spool);
    return new Proxy(spool, {
      get: (target, name) => {
        const value: unknown = Reflect.get(methods, name) ?? Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  };
  return ({ operators }) => ({
    operators: {
      ...operators,
      spoolRows: (spool) => HONEST.spoolRows(instead(spool)),
      writeFiles: (target, track) => HONEST.writeFiles({ ...target, spool: instead(target.spool) }, track),
    },
  });
}

/** What goes to disk is passed on when it is there. */
function overtaking(
  honest: Operator<EncodedRows | DrainMarker, SpooledRows | DrainMarker>,
): Operator<EncodedRows | DrainMarker, SpooledRows | DrainMarker> {
  return operator('spoolRows', {}, (context) => (source) => {
    return new Observable((subscriber) => {
      link(honest.withContext(context)(source), subscriber, {
        next: (item) => {
          if (item.type === 'marker' || item.entry.state === 'memory') return subscriber.next(item);
          (item.entry as Entry).ack.addPostEnqueue(() => subscriber.next(item));
        },
      });
    });
  });
}

/** The values as they stand in the files, whatever was written there. */
async function* unchecked(entries: readonly SpoolEntry[]) {
  for (const { content, place, bytes, valueBytes } of entries as readonly Entry[]) {
    if (content !== null) yield { keys: [], values: content.value };
    else yield { keys: [], values: [await place!.segment.file.read(place!.offset + bytes - valueBytes, valueBytes)] };
  }
}

function diskWith(disk: Disk, methods: Partial<Disk>): Disk {
  return new Proxy(disk, { get: (target, name) => Reflect.get(methods, name) ?? Reflect.get(target, name) });
}

function fileWith(file: DiskFile, methods: Partial<DiskFile>): DiskFile {
  return {
    write: (pieces) => file.write(pieces),
    read: (position, length) => file.read(position, length),
    sync: () => file.sync(),
    close: () => file.close(),
    ...methods,
  };
}

function closing(disk: Disk): Disk {
  let last: DiskFile | null = null;
  return diskWith(disk, {
    open: async (path, flags) => {
      await last?.close();
      last = await disk.open(path, flags);
      return last;
    },
  });
}

function swallowing(disk: Disk): Disk {
  return diskWith(disk, {
    open: async (path, flags) => {
      const file = await disk.open(path, flags);
      return fileWith(file, { write: (pieces) => file.write(pieces).catch(() => {}) });
    },
  });
}
