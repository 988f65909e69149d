import { type Segment, SegmentFiles } from '../../../lib/spool/segment-files.ts';
import type { Disk, DiskFile } from '../../../lib/stores/index.ts';
import { EventDelivery } from '../../../pipelines/event-recorder/delivery.ts';
import { HandlerCalls } from '../../../pipelines/event-recorder/handler-calls.ts';
import { MemoryIntake } from '../../../pipelines/event-recorder/intake.ts';
import { Ledger } from '../../../pipelines/event-recorder/ledger.ts';
import { SpillIntake } from '../../../pipelines/event-recorder/spill-intake.ts';
import { SpillReplay } from '../../../pipelines/event-recorder/spill-replay.ts';
import { Stamps } from '../../../pipelines/event-recorder/stamps.ts';
import { type EventGroup, type EventHandler, EventRejectedError } from '../../../pipelines/index.ts';
import type { RecorderParts } from './recorder.ts';

/** An event recorder with one part replaced by a broken one: a weakness of the origin's (spec event-recorder C4), or a bug that is easily made. */
export interface RecorderMutant {
  readonly name: string;
  /** What goes wrong, and who had it. */
  readonly hazard: string;
  /** The numbers of the rules that may notice it first. */
  readonly breaks: readonly string[];
  /** It is noticed within so many seeds, from 1 on. */
  readonly seeds: number;
  /** What it replaces around the recorder. */
  readonly parts?: Partial<RecorderParts>;
  /** Breaks a class of the recorder, until the returned function is called. */
  readonly patch?: () => () => void;
}

export const RECORDER_MUTANTS: readonly RecorderMutant[] = [
  {
    name: 'drops in silence',
    hazard: 'what had no room is gone without a number (W1, the origin)',
    breaks: ['G5'],
    seeds: 20,
    parts: { overflow: 'dropOldest' },
    patch: () =>
      patched(
        Ledger.prototype,
        'dropped',
        (honest) =>
          function (this: Ledger, entries, reason, isKept) {
            if (reason !== 'overflow') honest.call(this, entries, reason, isKept);
          },
      ),
  },
  {
    name: 'a failure counts as a delivery',
    hazard: 'what the target did not take is counted as delivered: the numbers add up, and tell nothing (a nack taken for an ack)',
    breaks: ['W1'],
    seeds: 10,
    parts: { overflow: 'dropNewest' },
    patch: () =>
      patched(
        HandlerCalls.prototype,
        'deliver',
        (honest) =>
          function (this: HandlerCalls, entries, attempt) {
            return honest.call(this, entries, attempt).catch(() => {});
          },
      ),
  },
  {
    name: 'a whole batch is retried',
    hazard: 'a group that was taken comes again when the next one of its batch fails (W2, the origin)',
    breaks: ['G7', 'G2'],
    seeds: 10,
    parts: {
      handler: (target) => {
        let before: EventGroup | null = null;
        return through(target, async (group, options) => {
          if (options.attempt > 1 && before !== null) await target.deliver(before, options);
          await target.deliver(group, options);
          before = group;
        });
      },
    },
  },
  {
    name: 'the time is that of the call',
    hazard: 'an event without a time of its own gets another one in each retry (W3, the origin)',
    breaks: ['W3'],
    seeds: 10,
    parts: {
      handler: (target, clock) =>
        through(target, (group, options) => {
          const timestampNs = BigInt(Math.floor(clock.now())) * 1_000_000n;
          return target.deliver({ ...group, events: group.events.map((event) => ({ ...event, timestampNs })) }, options);
        }),
    },
  },
  {
    name: 'a refusal for good is retried',
    hazard: 'one bad event costs all retries, and with `keep` holds up everything behind it for ever (W5, the origin)',
    breaks: ['G1'],
    seeds: 30,
    parts: {
      handler: (target) =>
        through(target, (group, options) =>
          target.deliver(group, options).catch((error: unknown) => {
            throw error instanceof EventRejectedError ? new Error('refused') : error;
          }),
        ),
    },
  },
  {
    name: 'a call is not awaited',
    hazard: 'events count as delivered when the call was begun, and the next one runs beside it',
    breaks: ['W1', 'C5.7', 'G6', 'G8'],
    seeds: 5,
    parts: {
      handler: (target) =>
        through(target, async (group, options) => {
          target.deliver(group, options).catch(() => {});
        }),
    },
  },
  {
    name: 'close does not wait',
    hazard: 'what is on its way at the deadline of close goes on after it (W9, the origin)',
    breaks: ['G6', 'G5', 'C5.7'],
    seeds: 20,
    patch: () => patched(EventDelivery.prototype, 'stop', () => async () => []),
  },
  {
    name: 'a call that was given up is made when the handler has opened at last',
    hazard: 'its events have been retried, or dropped at close, when it comes',
    breaks: ['G7', 'G6', 'C5.7', 'W1'],
    seeds: 60,
    // Nothing else in a recorder asks it.
    patch: () => patched(AbortSignal.prototype, 'throwIfAborted', () => () => {}),
  },
  {
    name: 'neighbours change places',
    hazard: 'two events of a queue come in the other order',
    breaks: ['G2'],
    seeds: 10,
    parts: { overflow: 'dropNewest' },
    patch: () => {
      const held = new WeakMap<MemoryIntake, ReturnType<MemoryIntake['shift']>>();
      return patched(
        MemoryIntake.prototype,
        'shift',
        (honest) =>
          function (this: MemoryIntake) {
            const before = held.get(this);
            held.delete(this);
            if (before !== undefined) return before;
            const [first, second] = [honest.call(this), honest.call(this)];
            if (second !== undefined) held.set(this, first);
            return second ?? first;
          },
      );
    },
  },
  {
    name: 'a number is given twice',
    hazard: 'two events share number and identity, and a target that knows it drops one of them',
    breaks: ['G2', 'G7', 'G4', 'W3'],
    seeds: 10,
    patch: () => {
      let count = 0;
      return patched(
        Stamps.prototype,
        'take',
        (honest) =>
          function (this: Stamps) {
            if (++count % 20 !== 0) honest.call(this);
          },
      );
    },
  },
  {
    name: 'no bound of bytes',
    hazard: 'a queue that counts events and not their bytes (the origin)',
    breaks: ['C5.41'],
    seeds: 30,
    parts: { overflow: 'dropNewest' },
    patch: () =>
      patched(
        MemoryIntake.prototype,
        'offer',
        () =>
          function (this: MemoryIntake, entry) {
            if (!this.hasRoom) return 'overflow';
            this.force(entry);
            return 'taken';
          },
      ),
  },
  {
    name: 'safe before it is written',
    hazard: 'an event is said to be safe while it waits for its write',
    breaks: ['G8'],
    seeds: 60,
    parts: { overflow: 'spill' },
    patch: () => patched(SpillIntake.prototype, 'safe', () => async () => true),
  },
  {
    name: 'a log file is removed too early',
    hazard: 'files go when the next one is begun, whether their events are settled or not',
    breaks: ['G8', 'G5', 'G1'],
    seeds: 60,
    parts: { overflow: 'spill' },
    patch: () => {
      const begun = new WeakMap<SegmentFiles, Segment>();
      return patched(
        SegmentFiles.prototype,
        'append',
        (honest) =>
          async function (this: SegmentFiles, pieces, bytes, count) {
            const place = await honest.call(this, pieces, bytes, count);
            const before = begun.get(this);
            begun.set(this, place.segment);
            if (before !== undefined && before !== place.segment && before.refs > 0) this.release(before, before.refs);
            return place;
          },
      );
    },
  },
  {
    name: 'what is settled is delivered again',
    hazard: 'a start reads the log and overlooks what it says of its own events',
    breaks: ['G5', 'G1'],
    seeds: 60,
    parts: { overflow: 'spill' },
    patch: () => patched(SpillReplay.prototype, 'wasSettled', () => () => false),
  },
  {
    name: 'sync does nothing',
    hazard: 'a disk that says that it has written',
    breaks: ['G8'],
    seeds: 100,
    parts: { disk: withoutSync },
  },
  {
    name: 'names are not synced',
    hazard: 'a file that is synced, in a folder that is not',
    breaks: ['G8'],
    seeds: 100,
    parts: { disk: (disk) => Object.assign(Object.create(disk) as Disk, { syncFolder: async () => {} }) },
  },
];

/** Replaces a method until the returned function is called. */
function patched<Type extends object, Name extends keyof Type>(
  prototype: Type,
  name: Name,
  make: (honest: Type[Name]) => Type[Name],
): () => void {
  const honest = prototype[name];
  prototype[name] = make(honest);
  return () => {
    prototype[name] = honest;
  };
}

function through(target: EventHandler, deliver: EventHandler['deliver']): EventHandler {
  return { name: target.name, deliver };
}

function withoutSync(disk: Disk): Disk {
  return Object.assign(Object.create(disk) as Disk, {
    open: async (...args: Parameters<Disk['open']>): Promise<DiskFile> => {
      const file = await disk.open(...args);
      return Object.assign(Object.create(file) as DiskFile, {
        write: file.write.bind(file),
        read: file.read.bind(file),
        close: file.close.bind(file),
        sync: async () => {},
      });
    },
  });
}
