import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { createContext } from '../../../lib/flow/index.ts';
import { nodeDisk } from '../../../lib/stores/node-disk.ts';
import { SimDisk, type SimNode, Simulation, type VirtualClock, virtualTime } from '../../../lib/testing/index.ts';
import { type EventRecorder, type EventRecorderOptions, eventRecorder } from '../../../pipelines/index.ts';
import { addsUp } from './conservation.ts';
import { event, failing, never, ScriptedHandler } from './recorder-kit.ts';

const FOLDER = '/data/events';
const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const record = (recorder: EventRecorder<'spill'>, from: number, to: number) => {
  for (let i = from; i <= to; i++) recorder.record(event(i));
};

/** A disk whose files a test may look at and damage. It answers at once. */
class TestDisk extends SimDisk {
  readonly node: SimNode;

  constructor() {
    const sim = new Simulation(1);
    const node = sim.node('recorder');
    super(sim, { name: 'disk', node });
    this.node = node;
  }

  async logs(): Promise<string[]> {
    return (await this.list(FOLDER)).map(({ name }) => `${FOLDER}/${name}`);
  }

  /** Writes a file anew. */
  async replace(path: string, content: Uint8Array): Promise<void> {
    const file = await this.open(path, 'w');
    await file.write([content]);
    await file.sync();
    await file.close();
  }
}

interface World {
  readonly clock: VirtualClock;
  readonly disk: TestDisk;
  readonly handler: ScriptedHandler;
  start(options?: Partial<EventRecorderOptions<'spill'>>): Promise<EventRecorder<'spill'>>;
  /** Nothing of the lives before happens any more. `crash` (default): as by a power failure, what was not synced is lost; `kill`: as by SIGKILL. */
  crash(how?: 'crash' | 'kill'): void;
}

function inWorld(body: (world: World) => Promise<void>): Promise<void> {
  return virtualTime(async ({ clock }) => {
    const disk = new TestDisk();
    const handler = new ScriptedHandler(clock);
    let life = 0;
    await body({
      clock,
      disk,
      handler,
      start: (options = {}) => {
        const mine = ++life;
        const lives = (): boolean => mine === life;
        const port = disk.node.port<SimDisk>(disk);
        const mortal = {
          name: 'mortal',
          deliver: (...args: Parameters<typeof handler.deliver>) => (lives() ? handler.deliver(...args) : never()),
        };
        return eventRecorder({ overflow: 'spill', spill: { folder: FOLDER, disk: port }, handler: mortal, ...options }).open({ clock });
      },
      crash: (how = 'crash') => {
        life++;
        disk.node[how]();
        disk.node.restart();
      },
    });
  });
}

describe('policy spill', () => {
  it('C5.6: keeps on disk what the memory has no room for, and delivers all of it in order', () =>
    inWorld(async ({ clock, handler, start }) => {
      handler.does(never);
      const recorder = await start({ queueEvents: 50, batchEvents: 10 });
      for (let i = 1; i <= 500; i++) {
        expect(recorder.record(event(i))).toMatchObject({ accepted: true });
        if (i % 20 === 0) await clock.advance(1);
      }
      await clock.advance(1);
      expect(recorder.status()).toMatchObject({ accepted: 500, pending: 500, queueEvents: 50 });
      handler.does(() => {});
      await clock.advance(60_000);
      expect(handler.taken).toEqual(numbers(1, 500));
      expect(recorder.status()).toMatchObject({ delivered: 500, pending: 0 });
      expect(addsUp(recorder.status())).toBe(true);
      await recorder.close();
      expect(clock.nextMs).toBe(null);
    }));

  it('C5.37, G8: after a crash delivers again what was safe and not settled, in order, under the same identity, before what is new', () =>
    inWorld(async ({ clock, handler, start, crash }) => {
      handler.does(({ payloads }) => (payloads.includes(11) ? never() : undefined));
      const first = await start({ batchEvents: 10 });
      const ids: string[] = [];
      for (let i = 1; i <= 35; i++) {
        const outcome = first.record(event(i));
        if (outcome.accepted) ids.push(outcome.id);
      }
      await first.safe();
      await clock.advance(100);
      first.record(event('never written'));
      crash();
      expect(handler.taken).toEqual(numbers(1, 10));
      handler.does(() => {});
      handler.calls.length = 0;
      const second = await start({ batchEvents: 10 });
      expect(second.status()).toMatchObject({ replayed: 25, accepted: 25, recorded: 0 });
      second.record(event(36));
      await second.close();
      expect(handler.taken).toEqual(numbers(1, 36));
      expect(handler.calls.flatMap(({ group }) => group.events.map(({ id }) => id)).slice(0, 25)).toEqual(ids.slice(10));
      const seqs = handler.calls.flatMap(({ group }) => group.events.map(({ seq }) => seq));
      expect(seqs.every((seq, i) => i === 0 || seq > seqs[i - 1]!)).toBe(true);
      expect(addsUp(second.status())).toBe(true);
    }));

  it.each([
    { fsync: 'always', how: 'kill', isAll: true },
    { fsync: 'always', how: 'crash', isAll: true },
    { fsync: 'never', how: 'kill', isAll: true },
    { fsync: 'never', how: 'crash', isAll: false },
  ] as const)(
    'G8: with fsync $fsync all that is safe is there behind a $how: $isAll; what is there comes in order',
    ({ fsync, how, isAll }) =>
      inWorld(async ({ clock, disk, handler, start, crash }) => {
        const spill = { folder: FOLDER, disk, fsync, segment: 4096 };
        handler.does(never);
        const first = await start({ spill });
        for (let i = 1; i <= 300; i++) {
          first.record(event(i));
          if (i % 20 === 0) await clock.advance(1);
        }
        expect(await first.safe()).toBe(true);
        crash(how);
        handler.does(() => {});
        const second = await start({ spill });
        const { replayed } = await second.close();
        expect(replayed === 300).toBe(isAll);
        expect(handler.taken).toEqual(numbers(1, 300).filter((n) => handler.taken.includes(n)));
        expect(handler.taken).toHaveLength(replayed);
      }),
  );

  it('G2: numbers go on behind those of the log, though the clock has not', () =>
    inWorld(async ({ clock, handler, start, crash }) => {
      handler.does(never);
      const first = await start();
      record(first, 1, 3);
      await first.safe();
      crash();
      handler.does(() => {});
      const second = await start();
      record(second, 4, 5);
      expect(await second.close()).toMatchObject({ replayed: 3, delivered: 5 });
      expect(handler.taken).toEqual(numbers(1, 5));
      const seqs = handler.calls.flatMap(({ group }) => group.events.map(({ seq }) => seq));
      expect(seqs).toEqual([...new Set(seqs)].toSorted((a, b) => Number(a - b)));
      expect(clock.now()).toBe(0);
    }));

  it('G7: events that stand in the log twice, as behind a sync that failed, come once', () =>
    inWorld(async ({ clock, disk, handler, start, crash }) => {
      let syncsToFail = 0;
      const port = disk.node.port<SimDisk>(disk);
      const failing: SimDisk = Object.assign(Object.create(port) as SimDisk, {
        open: async (...args: Parameters<SimDisk['open']>) => {
          const file = await port.open(...args);
          const sync = async () => {
            await file.sync();
            if (syncsToFail-- > 0) throw new Error('EIO');
          };
          return { write: file.write.bind(file), read: file.read.bind(file), close: file.close.bind(file), sync };
        },
      });
      handler.does(never);
      const first = await start({ spill: { folder: FOLDER, disk: failing }, queueEvents: 4, batchEvents: 4 });
      record(first, 1, 4);
      await first.safe();
      syncsToFail = 1;
      record(first, 5, 8);
      await clock.advance(5000);
      record(first, 9, 10);
      expect(await first.safe()).toBe(true);
      crash();
      handler.does(() => {});
      const second = await start({ queueEvents: 4, batchEvents: 4 });
      expect(await second.close()).toMatchObject({ replayed: 10, delivered: 10, pending: 0 });
      expect(handler.taken).toEqual(numbers(1, 10));
    }));

  it('C5.37: keeps every kind of value over a crash', () =>
    inWorld(async ({ clock, handler, start, crash }) => {
      const extraSchema = [
        { name: 'i', type: 'int64', semantic: 'tag' },
        { name: 'u', type: 'uint64', semantic: 'field' },
        { name: 'f', type: 'float64', semantic: 'field' },
        { name: 'b', type: 'boolean', semantic: 'field' },
        { name: 's', type: 'string', semantic: 'field' },
        { name: 'j', type: 'json', semantic: 'field' },
        { name: 'y', type: 'binary', semantic: 'field' },
        { name: 't', type: 'timestampNs', semantic: 'field' },
      ] as const;
      const extraRows = [
        [-(2n ** 63n), 2n ** 64n - 1n, -0, false, 'ä\n"', { a: [1, null] }, Buffer.from([0, 255]), 1n],
        [1, 2, Number.NaN, true, '', 'text', Buffer.alloc(0), null],
        [1, 2, Number.NEGATIVE_INFINITY, null, null, null, null, null],
      ];
      handler.does(never);
      const first = await start({ batchEvents: 2 });
      first.record(event({ big: '9'.repeat(30) }, 'test', { timestampNs: -5n, extraSchema, extraRows }));
      first.record(event(null, 'test', { extraSchema, extraRows }));
      await first.safe();
      await clock.settle();
      crash();
      handler.does(() => {});
      const second = await start({ batchEvents: 2 });
      await second.close();
      const [before, after] = handler.calls.map(({ group }) => group.events);
      expect(before).toHaveLength(2);
      expect(after).toEqual(before);
    }));

  it.each<[string, (content: Buffer) => Uint8Array, number]>([
    ['cut in the middle of a record', (content) => content.subarray(0, content.length - 3), 9],
    ['cut in the middle of a length', (content) => Buffer.concat([content, Buffer.from([9, 0])]), 10],
    ['zeros behind it', (content) => Buffer.concat([content, Buffer.alloc(100)]), 10],
    ['a length beyond all bounds', (content) => Buffer.concat([content, Buffer.alloc(30, 255)]), 10],
    [
      'a bit that has turned in its last record',
      (content) => {
        content[content.length - 1]! ^= 1;
        return content;
      },
      9,
    ],
    ['nothing left of it', () => Buffer.alloc(0), 0],
  ])('C5.37: tolerates a damaged end of its file: %s', (_, damage, expected) =>
    inWorld(async ({ disk, handler, start, crash }) => {
      handler.does(never);
      const first = await start();
      for (let i = 1; i <= 10; i++) first.record(event(i));
      await first.safe();
      crash();
      const [path] = await disk.logs();
      await disk.replace(path!, damage(await disk.readFile(path!)));
      handler.does(() => {});
      const second = await start();
      second.record(event('new'));
      const report = await second.close();
      expect(handler.taken).toEqual([...numbers(1, expected), 'new']);
      expect(report).toMatchObject({ replayed: expected, delivered: expected + 1, isComplete: true });
    }),
  );

  it('C5.15, W9: leaves on disk at the deadline of close what is not delivered, says so, and goes on there', () =>
    inWorld(async ({ handler, start }) => {
      handler.does(failing(99));
      const first = await start();
      record(first, 1, 250);
      const report = await first.close(3000);
      expect(report).toMatchObject({ accepted: 250, delivered: 0, pending: 250, isComplete: false });
      expect(addsUp(report)).toBe(true);
      handler.does(() => {});
      const second = await start();
      expect(await second.close()).toMatchObject({ replayed: 250, delivered: 250, pending: 0 });
      expect(handler.taken).toEqual(numbers(1, 250));
    }));

  it('removes files whose events are settled, the oldest first, and refuses events beyond its quota', () =>
    inWorld(async ({ clock, disk, handler, start }) => {
      const spill = { folder: FOLDER, disk, quota: '20kB', segment: 2048 };
      handler.does(never);
      const recorder = await start({ spill, batchEvents: 10, lossSummary: false });
      let refused = 0;
      for (let i = 1; i <= 200; i++) {
        if (!recorder.record(event(i)).accepted) refused++;
        await clock.advance(1);
      }
      expect(refused).toBeGreaterThan(0);
      expect(recorder.status().spillBytes).toBeLessThanOrEqual(20_000);
      expect((await disk.logs()).length).toBeGreaterThan(4);
      handler.does(() => {});
      await clock.advance(60_000);
      expect(recorder.status()).toMatchObject({ pending: 0, refused: { overflow: refused } });
      expect(await disk.logs()).toHaveLength(1);
      expect(handler.taken).toEqual(numbers(1, 200 - refused));
    }));

  it('G7: delivers nothing again when a file could not be removed: what says that its events are settled stays too', () =>
    inWorld(async ({ clock, disk, start, handler, crash }) => {
      const spill = { folder: FOLDER, disk, segment: 1024 };
      const recorder = await start({ spill, linger: 10 });
      const remove = disk.remove.bind(disk);
      disk.remove = (path) => (path.endsWith('1.log') ? Promise.reject(new Error('EIO')) : remove(path));
      for (let i = 1; i <= 50; i += 10) {
        record(recorder, i, i + 9);
        await clock.advance(50);
      }
      crash('kill');
      disk.remove = remove;
      const second = await start({ spill });
      expect([handler.taken, second.status().replayed]).toEqual([numbers(1, 50), 0]);
      await second.close();
      // That of the highest number, and what settles it.
      expect(await disk.logs()).toHaveLength(2);
    }));

  it('takes events again when those before are delivered, also where the quota is less than a file may have', () =>
    inWorld(async ({ clock, disk, handler, start }) => {
      const recorder = await start({ spill: { folder: FOLDER, disk, quota: '20kB' }, linger: 10 });
      for (let i = 1; i <= 500; i++) {
        expect(recorder.record(event(i))).toMatchObject({ accepted: true });
        await clock.advance(50);
      }
      expect(handler.taken).toEqual(numbers(1, 500));
    }));

  it('is of one process: another one is told so', () =>
    inWorld(async ({ start, disk }) => {
      const spill = { folder: FOLDER, disk };
      const recorder = await start({ spill });
      await expect(start({ spill })).rejects.toMatchObject({ code: 'MR_STATE_LOCKED' });
      await recorder.close();
      await (await start({ spill })).close();
    }));

  it('W6: a disk that fails holds no delivery up: events pass by the log, and are not called safe', () =>
    virtualTime(async ({ clock }) => {
      const sim = new Simulation(1);
      let isBroken = false;
      const disk = new SimDisk(sim, { name: 'disk' });
      const breaking: SimDisk = new Proxy(disk, {
        get: (target, name) => {
          const value: unknown = Reflect.get(target, name, target);
          if (typeof value !== 'function') return value;
          return (...args: unknown[]) => (isBroken && name === 'open' ? Promise.reject(new Error('EIO')) : value.apply(target, args));
        },
      });
      const handler = new ScriptedHandler(clock);
      const recorder = await eventRecorder({ handler, overflow: 'spill', spill: { folder: FOLDER, disk: breaking }, batchEvents: 5 }).open({
        clock,
      });
      isBroken = true;
      handler.does(() => clock.sleep(1000));
      record(recorder, 1, 10);
      let isSafe = false;
      void recorder.safe().then(() => {
        isSafe = true;
      });
      await clock.advance(500);
      expect([handler.calls.length, isSafe]).toEqual([1, false]);
      await clock.advance(5000);
      expect([handler.taken, isSafe]).toEqual([numbers(1, 10), true]);
      isBroken = false;
      record(recorder, 11, 15);
      await clock.advance(5000);
      expect(await recorder.close()).toMatchObject({ delivered: 15, pending: 0 });
    }));

  it('tells at the start that its folder cannot be used', async () => {
    const handler = { name: 'none', deliver: async () => {} };
    const definition = eventRecorder({ handler, overflow: 'spill', spill: { folder: '/proc/no/such/folder', disk: nodeDisk } });
    await expect(definition.open(createContext())).rejects.toMatchObject({ code: 'MR_EVENT_SPILL_UNUSABLE' });
  });

  it('works on a real disk', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-spill-'));
    try {
      const spill = { folder: join(folder, 'events') };
      const down = { name: 'down', deliver: () => Promise.reject(new Error('down')) };
      const first = await eventRecorder({ handler: down, overflow: 'spill', spill }).open();
      record(first, 1, 1000);
      expect(await first.close(1)).toMatchObject({ pending: 1000 });
      if (process.platform !== 'win32') expect((await stat(spill.folder)).mode & 0o777).toBe(0o700);
      const [name] = await readdir(spill.folder);
      const path = join(spill.folder, name!);
      await writeFile(path, (await readFile(path)).subarray(0, -1));
      const taken: unknown[] = [];
      const up = {
        name: 'up',
        deliver: async ({ events }: { events: readonly { payload: string }[] }) =>
          void taken.push(...events.map(({ payload }) => JSON.parse(payload))),
      };
      const second = await eventRecorder({ handler: up, overflow: 'spill', spill }).open();
      expect(await second.close()).toMatchObject({ replayed: 999, delivered: 999, pending: 0 });
      expect(taken).toEqual(numbers(1, 999));
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
