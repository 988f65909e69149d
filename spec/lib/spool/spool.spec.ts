import { describe, expect, it } from '@jest/globals';
import type { SpoolEntry } from '../../../lib/spool/index.ts';
import { contentOf, limitsOf, message, SpoolWorld } from './world.ts';

/** Memory holds 100 bytes, disk 1000 in files of 200; held above 600, resumed at 300. */
const SMALL = limitsOf({ diskQuotaBytes: 1000, memoryBytes: 100, segmentBytes: 200, highRatio: 0.6, lowRatio: 0.3 });
/** All goes to disk, in files of 200. */
const DISK_ONLY = limitsOf({ diskQuotaBytes: 10_000, memoryBytes: 1, segmentBytes: 200 });

const letters = (name: string, bytes: number) => name.repeat(bytes - 16);

/** spec storage-sink §2.4, §2.8 */
describe('Spool', () => {
  it('keeps entries in memory first, then on disk, and gives both back in order', async () => {
    const world = await SpoolWorld.open(SMALL);
    const entries = [world.put('a', 60), world.put('b', 80), world.put('c', 40), world.put('d', 90)];
    await world.settle();
    expect(entries.map(({ state }) => state)).toEqual(['memory', 'disk', 'memory', 'disk']);
    expect(world.spool.status).toMatchObject({ memoryBytes: 100, diskBytes: 170, fileBytes: 170, entries: 4, segments: 1, rotations: 1 });
    expect(world.gauge.level).toBe(270);
    expect((await contentOf(world.spool, entries)).value).toBe(letters('a', 60) + letters('b', 80) + letters('c', 40) + letters('d', 90));
    expect(entries.map(({ state }) => state)).toEqual(['memory', 'disk', 'memory', 'disk']);
  });

  it('acks what is in memory at once, what is on disk when it is written', async () => {
    const world = await SpoolWorld.open(SMALL);
    world.stall();
    world.put('a', 100);
    const b = world.put('b', 50);
    world.put('c', 50);
    await world.settle();
    expect(world.acks).toEqual(['a']);
    expect(b.state).toBe('writing');
    world.goOn();
    await world.settle();
    expect(world.acks).toEqual(['a', 'b', 'c']);
  });

  it('passes an entry on before its ack runs, so that what a woken source sends comes behind it', async () => {
    const { spool } = await SpoolWorld.open(SMALL);
    const passed: string[] = [];
    const send = (name: string, next?: () => void) => {
      const given = message(name, 40);
      if (next !== undefined) given.ack.addPostEnqueue(next);
      spool.enqueue(given, () => passed.push(name));
    };
    send('a', () => send('b', () => send('c')));
    await spool.close();
    expect(passed).toEqual(['a', 'b', 'c']);
  });

  it('keeps what comes along with the rows beside them, and out of the file bytes', async () => {
    const world = await SpoolWorld.open(SMALL);
    const entries = [world.put('a', 60, Buffer.from('of a')), world.put('b', 60, Buffer.from('of b')), world.put('c', 60)];
    await world.settle();
    expect(entries.map(({ bytes, valueBytes }) => [bytes, valueBytes])).toEqual([
      [60, 40],
      [60, 40],
      [60, 44],
    ]);
    expect(await contentOf(world.spool, entries)).toEqual({
      keys: ['of a', 'of b'],
      value: 'a'.repeat(40) + 'b'.repeat(40) + 'c'.repeat(44),
    });
  });

  it('gives pieces back for use again when they are written, or let go', async () => {
    const world = await SpoolWorld.open(SMALL);
    const [a, b] = [world.put('a', 100), world.put('b', 50)];
    await world.settle();
    expect(world.recycled).toEqual(['b']);
    a.release();
    b.release();
    expect(world.recycled).toEqual(['b', 'a']);
  });

  it('gives no pieces back that somebody reads, though they were written meanwhile', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    world.stall();
    const a = world.put('a', 50);
    const chunk = (await world.spool.read([a]).next()).value!;
    world.goOn();
    await world.settle();
    expect([a.state, world.recycled]).toEqual(['disk', []]);
    expect(Buffer.concat(chunk.values).toString()).toBe(letters('a', 50));
    a.flushed();
    expect(world.recycled).toEqual(['a']);
  });

  it('lets go of an entry that is being written when that is done', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    world.stall();
    const [a, b] = [world.put('a', 50), world.put('b', 60)];
    a.flushed();
    b.flushed();
    expect(world.recycled).toEqual(['b']);
    expect(world.spool.status).toMatchObject({ diskBytes: 0, entries: 0 });
    world.goOn();
    await world.settle();
    expect([world.recycled, world.acks]).toEqual([
      ['b', 'a'],
      ['a!', 'a', 'b!', 'b'],
    ]);
    expect(world.spool.status.fileBytes).toBe(50);
    expect(world.gauge.level).toBe(0);
  });

  it('keeps nothing of what its owner has moved, and counts it on until it is let go', async () => {
    const world = await SpoolWorld.open(SMALL);
    const entries = [world.put('a', 60), world.put('b', 80), world.put('c', 40)];
    await world.settle();
    world.recycled.length = 0;
    const checksum = world.spool.checksumOf(entries);
    world.spool.moved(entries);
    world.spool.moved(entries);
    await world.settle();
    expect([entries.map(({ state }) => state), world.recycled]).toEqual([
      ['moved', 'moved', 'moved'],
      ['a', 'c'],
    ]);
    expect(world.spool.status).toMatchObject({ memoryBytes: 0, diskBytes: 180, entries: 3 });
    expect(world.gauge.level).toBe(180);
    expect(world.spool.checksumOf(entries)).toBe(checksum);
    await expect(contentOf(world.spool, entries)).rejects.toThrow('let go');
    world.spool.flushed(entries);
    expect(world.spool.status).toMatchObject({ memoryBytes: 0, diskBytes: 0, entries: 0 });
    expect([world.gauge.level, world.recycled]).toEqual([0, ['a', 'c']]);
  });

  it('gives the room of what was moved to what waits for it, and holds acks all the same', async () => {
    const world = await SpoolWorld.open(
      limitsOf({ diskQuotaBytes: 100, memoryBytes: 100, segmentBytes: 50, highRatio: 0.9, lowRatio: 0.5 }),
    );
    const [memory, disk, waiting] = [world.put('a', 90), world.put('b', 90), world.put('c', 80)];
    await world.settle();
    expect([memory.state, disk.state, waiting.state, world.acks]).toEqual(['memory', 'disk', 'waiting', ['a']]);
    world.spool.moved([memory]);
    expect([waiting.state, world.acks, world.spool.status.isPaused]).toEqual(['memory', ['a'], true]);
    world.spool.flushed([memory, disk, waiting]);
    expect(world.acks).toEqual(expect.arrayContaining(['a!', 'b!', 'c!']));
    expect(world.gauge.level).toBe(0);
  });

  it('drops nothing of what is on its way to the disk when that was moved', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    world.stall();
    const [a, b] = [world.put('a', 50), world.put('b', 50)];
    world.spool.moved([a, b]);
    expect([a.state, b.state]).toEqual(['writing', 'queued']);
    world.goOn();
    await world.settle();
    expect((await contentOf(world.spool, [a, b])).value).toBe(letters('a', 50) + letters('b', 50));
  });

  it('keeps what was read on its way to the disk no longer than that, once its owner has moved it', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    world.stall();
    const [a, b] = [world.put('a', 50), world.put('b', 50)];
    await contentOf(world.spool, [a, b]);
    world.spool.moved([a]);
    world.goOn();
    await world.settle();
    expect([a.state, b.state, world.recycled]).toEqual(['disk', 'disk', ['a']]);
    world.spool.moved([b]);
    expect(world.recycled).toEqual(['a', 'b']);
  });

  it('reads many entries at once where they stand behind each other', async () => {
    const world = await SpoolWorld.open(limitsOf({ memoryBytes: 1, segmentBytes: 100_000 }));
    const entries = Array.from({ length: 300 }, (_, i) => world.put('abc'[i % 3]!, 100));
    await world.settle();
    expect((await contentOf(world.spool, entries)).value).toBe((letters('a', 100) + letters('b', 100) + letters('c', 100)).repeat(100));
    expect(world.loads).toEqual([30_000]);
    world.loads.length = 0;
    expect((await contentOf(world.spool, [entries[4]!, entries[2]!, entries[3]!])).value).toBe(
      letters('b', 100) + letters('c', 100) + letters('a', 100),
    );
    expect(world.loads).toEqual([100, 200]);
  });

  it('reads lazily: nothing is loaded before it is asked for', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    const entries = [world.put('a', 150), world.put('b', 150)];
    await world.settle();
    const chunks = world.spool.read(entries);
    await world.settle();
    expect(world.loads).toEqual([]);
    await chunks.next();
    expect(world.loads).toEqual([150]);
  });

  it('refuses to read what was let go', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    const a = world.put('a', 50);
    await world.settle();
    a.release();
    await expect(contentOf(world.spool, [a])).rejects.toThrow('read after it was let go');
  });

  it('discards without loading: the flush acks run, once, and nothing is read', async () => {
    const world = await SpoolWorld.open(SMALL);
    const entries = [world.put('a', 90), world.put('b', 90)];
    await world.settle();
    for (const entry of [...entries, ...entries]) entry.flushed();
    expect(world.acks).toEqual(['a', 'b', 'a!', 'b!']);
    expect(world.loads).toEqual([]);
    expect(world.spool.status).toMatchObject({ memoryBytes: 0, diskBytes: 0, entries: 0 });
  });

  it('releases once: the level never goes below what is there', async () => {
    const world = await SpoolWorld.open(SMALL);
    const [a] = [world.put('a', 50), world.put('b', 40)];
    a!.release();
    a!.release();
    a!.flushed();
    expect([world.spool.status.memoryBytes, world.gauge.level, world.acks]).toEqual([40, 40, ['a', 'b']]);
  });
});

/** spec storage-sink §2.5 */
describe('Spool above its watermark', () => {
  const all = { diskQuotaBytes: 1000, memoryBytes: 990, highRatio: 0.6, lowRatio: 0.3 };

  it('WatermarkSuppressesWake: the example of the spec, to the byte', async () => {
    const world = await SpoolWorld.open(limitsOf(all));
    const [first, second] = [world.put('a', 366), world.put('b', 466)];
    expect([first.valueBytes, second.valueBytes]).toEqual([350, 450]);
    expect(world.acks).toEqual(['a']);
    first.release();
    expect([world.acks, world.spool.status.heldAcks]).toEqual([['a'], 1]);
    second.release();
    expect([world.acks, world.spool.status.heldAcks]).toEqual([['a', 'b'], 0]);
  });

  it('is sticky: once it holds, every later ack is held, below the high mark too, and all run in order, once', async () => {
    const world = await SpoolWorld.open(limitsOf(all));
    const a = world.put('a', 601);
    const later = ['b', 'c', 'd'].map((name) => world.put(name, 115));
    a.release();
    const e = world.put('e', 80);
    later[0]!.release();
    expect(world.acks).toEqual([]);
    expect(world.spool.status).toMatchObject({ memoryBytes: 310, isPaused: true, heldAcks: 5 });
    e.release();
    expect(world.acks).toEqual(['a', 'b', 'c', 'd', 'e']);
    later[1]!.flushed();
    expect(world.acks).toEqual(['a', 'b', 'c', 'd', 'e', 'c!']);
  });

  it('a flush ack of a held entry wakes its own source, and no other', async () => {
    const world = await SpoolWorld.open(limitsOf(all));
    const [a, b] = [world.put('a', 400), world.put('b', 300)];
    world.put('c', 50);
    b.flushed();
    expect([world.acks, world.spool.status.heldAcks]).toEqual([['a', 'b!', 'b'], 1]);
    a.flushed();
    expect(world.acks).toEqual(['a', 'b!', 'b', 'a!', 'c']);
  });

  it('runs every held ack though the first one fills the spool again', async () => {
    const world = await SpoolWorld.open(limitsOf(all));
    const a = world.put('a', 700);
    const b = message('b', 40, world.ack('b'));
    b.ack.addPostEnqueue(() => world.put('refill', 700));
    world.spool.enqueue(b);
    world.put('c', 40);
    a.release();
    expect(world.acks).toEqual(['a', 'b', 'c']);
    expect(world.spool.status).toMatchObject({ isPaused: true, heldAcks: 1 });
  });

  it('holds the ack of what goes to disk from when it is there', async () => {
    const world = await SpoolWorld.open(SMALL);
    world.stall();
    const [a] = [world.put('a', 100), world.put('b', 501)];
    expect(world.spool.status).toMatchObject({ isPaused: true, heldAcks: 0 });
    world.goOn();
    await world.settle();
    expect([world.acks, world.spool.status.heldAcks]).toEqual([['a'], 1]);
    a!.release();
    expect(world.acks).toEqual(['a']);
  });

  it('holds when there are too many entries, however small they are, since each keeps a little in memory', async () => {
    const world = await SpoolWorld.open(limitsOf({ ...all, highEntries: 3, lowEntries: 2 }));
    const entries = ['a', 'b', 'c', 'd'].map((name) => world.put(name, 20));
    expect(world.acks).toEqual(['a', 'b', 'c']);
    entries[0]!.release();
    expect(world.acks).toEqual(['a', 'b', 'c']);
    entries[1]!.release();
    expect(world.acks).toEqual(['a', 'b', 'c', 'd']);
  });

  it('presses whoever gathers while it holds, so that nobody waits for an interval, and again only when all that was pressed out is gone', async () => {
    const world = await SpoolWorld.open(limitsOf(all));
    const [a, b] = [world.put('a', 300), world.put('b', 301)];
    const c = world.put('c', 310);
    expect([world.acks, world.presses]).toEqual([['a'], 1]);
    a.flushed();
    expect(world.presses).toBe(1);
    b.flushed();
    expect([world.spool.status.isPaused, world.presses]).toEqual([true, 2]);
    c.flushed();
    expect([world.spool.status.isPaused, world.presses]).toEqual([false, 2]);
  });

  it('keeps nothing of held entries that are flushed while it goes on holding', async () => {
    const world = await SpoolWorld.open(limitsOf(all));
    world.put('a', 700);
    for (let i = 0; i < 5000; i++) world.put('b', 40).flushed();
    expect(world.spool.status).toMatchObject({ isPaused: true, heldAcks: 1 });
  });
});

/** spec storage-sink §2.7 */
describe('Spool on disk', () => {
  it('begins a new segment when the next entry does not fit, and gives one of its own to what is larger than a segment', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    const entries: SpoolEntry[] = [];
    for (const [name, bytes] of [
      ['a', 100],
      ['b', 100],
      ['c', 1],
      ['d', 500],
      ['e', 199],
    ] as const) {
      entries.push(world.put(name, Math.max(bytes, 17)));
      await world.settle();
    }
    expect(await world.files()).toEqual(['segment-000001.log', 'segment-000002.log', 'segment-000003.log', 'segment-000004.log']);
    const sizes = await Promise.all((await world.files()).map(async (name) => (await world.disk.stat(`/spools/orders/${name}`))!.size));
    expect(sizes).toEqual([200, 17, 500, 199]);
    expect((await contentOf(world.spool, entries)).value).toHaveLength(100 + 100 + 17 + 500 + 199 - 5 * 16);
  });

  it('removes a segment when the last of its entries goes, the active one when it is not added to any more', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    const entries = ['a', 'b', 'c', 'd'].map((name) => world.put(name, 100));
    await world.settle();
    expect(await world.files()).toEqual(['segment-000001.log', 'segment-000002.log']);
    entries[0]!.release();
    await world.settle();
    expect(await world.files()).toHaveLength(2);
    entries[1]!.release();
    await world.settle();
    expect(await world.files()).toEqual(['segment-000002.log']);
    entries[2]!.release();
    entries[3]!.release();
    await world.settle();
    expect(await world.files()).toEqual(['segment-000002.log']);
    world.put('e', 100);
    await world.settle();
    expect(await world.files()).toEqual(['segment-000003.log']);
    expect(world.spool.status).toMatchObject({ segments: 1, rotations: 3, fileBytes: 100 });
  });

  it('gathers what comes during a write into the next one', async () => {
    const world = await SpoolWorld.open(limitsOf({ memoryBytes: 1, segmentBytes: 100_000 }));
    const entries = Array.from({ length: 50 }, () => world.put('a', 100));
    await world.settle();
    expect(world.writes).toBe(2);
    expect((await contentOf(world.spool, entries)).value).toBe('a'.repeat(84 * 50));
  });

  it('warns of a segment that cannot be removed, and goes on', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    const a = world.put('a', 200);
    world.put('b', 200);
    await world.settle();
    await world.disk.removeTree('/spools/orders/segment-000001.log');
    await world.disk.makeFolder('/spools/orders/segment-000001.log');
    a.release();
    await world.settle();
    expect(world.warnings).toEqual(['a spool file that is not needed any more could not be removed']);
    expect(world.spool.status).toMatchObject({ segments: 1, fileBytes: 200 });
  });
});

/** spec storage-sink §2.4, §2.6 */
describe('Spool at its disk quota', () => {
  /** Nothing fits in memory; two entries of 200 fit on disk. */
  const TWO = limitsOf({ diskQuotaBytes: 500, memoryBytes: 1, segmentBytes: 200, highRatio: 0.99, lowRatio: 0.98 });

  it('lets an entry wait in memory, un-acked and uncounted, and presses whoever gathers', async () => {
    const world = await SpoolWorld.open(TWO);
    const entries = ['a', 'b', 'c'].map((name) => world.put(name, 200));
    await world.settle();
    expect(entries.map(({ state }) => state)).toEqual(['disk', 'disk', 'waiting']);
    expect(world.spool.status).toMatchObject({ diskBytes: 400, entries: 2, waiting: 1 });
    expect([world.acks, world.presses, world.gauge.level]).toEqual([['a', 'b'], 1, 400]);
  });

  it('takes those who wait in order as room appears, and none past another', async () => {
    const world = await SpoolWorld.open(TWO);
    const [a, b] = [world.put('a', 200), world.put('b', 200)];
    await world.settle();
    world.put('c', 400);
    world.put('d', 50);
    a.flushed();
    await world.settle();
    expect(world.acks).toEqual(['a', 'b', 'a!']);
    b.flushed();
    await world.settle();
    expect(world.acks).toEqual(['a', 'b', 'a!', 'b!', 'c', 'd']);
  });

  it('reads and flushes an entry that waits as any other', async () => {
    const world = await SpoolWorld.open(TWO);
    world.put('a', 400);
    const c = world.put('c', 200);
    const d = world.put('d', 200);
    await world.settle();
    expect((await contentOf(world.spool, [c, d])).value).toBe(letters('c', 200) + letters('d', 200));
    c.flushed();
    d.flushed();
    expect(world.acks).toEqual(['a', 'c!', 'c', 'd!', 'd']);
    expect(world.spool.status).toMatchObject({ waiting: 0, diskBytes: 400, entries: 1 });
    expect(world.recycled).toEqual(['a', 'c', 'd']);
  });

  it('tells how long each waited, whatever became of it', async () => {
    const world = await SpoolWorld.open(TWO);
    const a = world.put('a', 400);
    await world.settle();
    const [b] = [world.put('b', 300), world.put('c', 400)];
    await world.sim.clock.advance(70);
    b!.flushed();
    await world.sim.clock.advance(30);
    a.flushed();
    await world.settle();
    expect(world.waits).toEqual([70, 100]);
    world.put('d', 400);
    await world.sim.clock.advance(20);
    await world.spool.close();
    expect(world.waits).toEqual([70, 100, 20]);
  });

  it('keeps in memory, accepted, what no quota would ever hold', async () => {
    const world = await SpoolWorld.open(TWO);
    world.put('a', 400);
    await world.settle();
    const huge = world.put('h', 501);
    expect([huge.state, world.acks, world.spool.status.isPaused]).toEqual(['memory', ['a'], true]);
    huge.release();
    expect(world.spool.status).toMatchObject({ memoryBytes: 0, isPaused: false });
  });

  it('presses again only when all that was pressed out is gone: small files are few, and nobody waits for an interval', async () => {
    const world = await SpoolWorld.open(TWO);
    const [a, b] = [world.put('a', 200), world.put('b', 200)];
    await world.settle();
    const [c] = ['c', 'd', 'e', 'f'].map((name) => world.put(name, 200));
    expect(world.presses).toBe(1);
    a.flushed();
    await world.settle();
    // Now c is on disk, and was gathered behind the press; b is still on its way out.
    expect([c!.state, world.presses]).toEqual(['disk', 1]);
    b.flushed();
    await world.settle();
    expect([world.spool.status.waiting, world.presses]).toEqual([2, 2]);
  });
});
