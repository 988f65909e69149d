import { describe, expect, it } from '@jest/globals';
import { Spool, type SpoolEntry } from '../../../lib/spool/index.ts';
import { contentOf, FOLDER, limitsOf, message, SpoolWorld } from './world.ts';

const DISK_ONLY = limitsOf({ diskQuotaBytes: 10_000, memoryBytes: 1, segmentBytes: 200 });
const TIGHT = limitsOf({ diskQuotaBytes: 500, memoryBytes: 1, segmentBytes: 200, highRatio: 0.99, lowRatio: 0.98 });

/** The defects that spec storage-sink names in §2 and §12, and what a spool can lose besides. */
describe('Spool hazards', () => {
  it('(!) §2.1, hyp 7: waiters for disk quota are not woken on close: here close lets go of all who wait, and nobody hangs', async () => {
    const world = await SpoolWorld.open(TIGHT);
    const entries = ['a', 'b', 'c', 'd'].map((name) => world.put(name, 200));
    await world.settle();
    expect(world.spool.status.waiting).toBe(2);
    const reading = world.spool.read(entries);
    await reading.next();
    await world.spool.close();
    await expect(reading.next()).rejects.toMatchObject({ code: 'MR_SPOOL_CLOSED' });
    expect(world.spool.status).toMatchObject({ waiting: 0, heldAcks: 0 });
    expect(() => world.put('e', 20)).toThrow(expect.objectContaining({ code: 'MR_SPOOL_CLOSED' }));
  });

  it('(!) §2.1, hyp 8: an old instance deletes the folder that a new one already uses: here it is locked until the old one is gone', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    world.put('a', 100);
    world.stall();
    world.put('b', 100);
    await expect(world.openSpool(DISK_ONLY)).rejects.toMatchObject({ code: 'MR_STATE_LOCKED' });
    const closing = world.spool.close();
    await world.settle();
    await expect(world.openSpool(DISK_ONLY)).rejects.toMatchObject({ code: 'MR_STATE_LOCKED' });
    world.goOn();
    await closing;
    const old = world.spool;
    world.spool = await world.openSpool(DISK_ONLY);
    const c = world.put('c', 100);
    await old.close();
    await world.settle();
    expect((await contentOf(world.spool, [c])).value).toBe('c'.repeat(84));
  });

  it('(!) §2.2: the memory tier does not grow with the disk quota', async () => {
    const world = await SpoolWorld.open(limitsOf({ diskQuotaBytes: 1_000_000, memoryBytes: 100, segmentBytes: 1000 }));
    const entries = Array.from({ length: 50 }, () => world.put('a', 100));
    await world.settle();
    expect(world.spool.status).toMatchObject({ memoryBytes: 100, diskBytes: 4900 });
    expect(entries.filter(({ state }) => state === 'disk')).toHaveLength(49);
    expect(world.recycled).toHaveLength(49);
  });

  it('(!) §2.6: a wait that lasts until the interval of other shards: here all who gather let go, and rows of no shard wait behind', async () => {
    const world = await SpoolWorld.open(TIGHT);
    const gathered: SpoolEntry[] = [];
    world.gauge.onPressure(() => {
      for (const entry of gathered.splice(0)) entry.flushed();
    });
    for (const name of 'abcdefghij') {
      world.spool.enqueue(message(name, 200, world.ack(name)), (entry) => gathered.push(entry));
      await world.settle();
    }
    // Ten entries have come through room for two, and nothing but the pressure let go of any.
    expect(world.spool.status.waiting).toBe(0);
    expect(world.acks.filter((ack) => ack.endsWith('!')).length).toBeGreaterThanOrEqual(8);
  });

  it('(!) §2.7, hyp 13: physical disk use exceeds the quota: here the files themselves are counted', async () => {
    const limits = limitsOf({ diskQuotaBytes: 1000, memoryBytes: 1, segmentBytes: 200, highRatio: 0.99, lowRatio: 0.98 });
    const world = await SpoolWorld.open(limits);
    const kept: SpoolEntry[] = [];
    // One of two in each segment stays: half of each file is dead.
    for (let i = 0; i < 30; i++) {
      const pair = [world.put('a', 100), world.put('b', 100)];
      await world.settle();
      expect(world.physicalBytes).toBeLessThanOrEqual(1000);
      kept.push(pair[0]!);
      pair[1]!.flushed();
    }
    expect(world.spool.status).toMatchObject({ fileBytes: 1000, diskBytes: 500 });
    for (const entry of kept) {
      entry.flushed();
      await world.settle();
      expect(world.physicalBytes).toBeLessThanOrEqual(1000);
    }
    expect(world.spool.status).toMatchObject({ waiting: 0, entries: 0, diskBytes: 0 });
  });

  it('(!) §2.7: room is free only when a segment is sealed: here an active one that nobody needs goes when somebody waits', async () => {
    const limits = limitsOf({ diskQuotaBytes: 500, memoryBytes: 1, segmentBytes: 1000, highRatio: 0.99, lowRatio: 0.98 });
    const world = await SpoolWorld.open(limits);
    const a = world.put('a', 400);
    await world.settle();
    a.flushed();
    const b = world.put('b', 400);
    await world.settle();
    expect([b.state, world.presses]).toEqual(['disk', 0]);
  });

  it('hyp 13: a disk that stalls blocks all shards: here what fits in memory goes on, acks included', async () => {
    const world = await SpoolWorld.open(limitsOf({ diskQuotaBytes: 10_000, memoryBytes: 100, segmentBytes: 200 }));
    world.stall();
    world.put('a', 70);
    world.put('slow', 90);
    const b = world.put('b', 30);
    await world.settle();
    expect([b.state, world.acks]).toEqual(['memory', ['a', 'b']]);
  });

  it('a disk that stalls holds back no entry: it is read and flushed from memory', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    world.stall();
    const entries = [world.put('a', 50), world.put('b', 50)];
    await world.settle();
    expect((await contentOf(world.spool, entries)).value).toBe('a'.repeat(34) + 'b'.repeat(34));
    for (const entry of entries) entry.flushed();
    expect(world.acks).toEqual(['a!', 'a', 'b!', 'b']);
  });

  it('§2.7: no checksum: here a changed byte, a cut file and a blob of another entry are noticed', async () => {
    for (const damage of ['changed', 'cut', 'swapped']) {
      const world = await SpoolWorld.open(DISK_ONLY);
      const entries = [world.put('a', 100), world.put('b', 100)];
      await world.settle();
      const path = `${FOLDER}/segment-000001.log`;
      const content = await world.disk.readFile(path);
      const file = await world.disk.open(path, 'w');
      const damaged = {
        changed: [content.fill('x', 150, 151)],
        cut: [content.subarray(0, 170)],
        swapped: [content.subarray(100), content.subarray(0, 100)],
      }[damage]!;
      await file.write(damaged);
      await expect(contentOf(world.spool, entries)).rejects.toMatchObject({ code: 'MR_SPOOL_CORRUPT', details: { path } });
    }
  });

  it('a full disk is no end: entries wait in memory, none is lost, and all are taken when there is room', async () => {
    const world = await SpoolWorld.open(DISK_ONLY, { capacityBytes: 300 });
    const entries = ['a', 'b', 'c', 'd'].map((name) => world.put(name, 150));
    await world.settle();
    expect(world.failures).toEqual([]);
    expect(world.spool.status).toMatchObject({ waiting: 2, entries: 2, diskBytes: 300 });
    expect([world.acks, world.presses]).toEqual([['a', 'b'], 1]);
    expect(world.warnings).toHaveLength(1);
    expect((await contentOf(world.spool, entries)).value).toBe([...'abcd'].map((name) => name.repeat(134)).join(''));
    entries[0]!.flushed();
    await world.settle();
    expect(world.acks).toEqual(['a', 'b', 'a!', 'c']);
    world.disk.resize(10_000);
    entries[1]!.flushed();
    await world.settle();
    expect(world.spool.status).toMatchObject({ waiting: 0, entries: 2, diskBytes: 300 });
    expect(world.acks).toEqual(['a', 'b', 'a!', 'c', 'b!', 'd']);
    for (const entry of entries) entry.flushed();
    expect([world.spool.status.diskBytes, world.gauge.level]).toEqual([0, 0]);
  });

  it('a disk that others have filled holds up nobody for ever: each that waits is pressed out, and not tried without end', async () => {
    const world = await SpoolWorld.open(DISK_ONLY, { capacityBytes: 0 });
    const gathered: SpoolEntry[] = [];
    world.gauge.onPressure(() => {
      for (const entry of gathered.splice(0)) entry.flushed();
    });
    for (const name of 'abcde') {
      world.spool.enqueue(message(name, 100, world.ack(name)), (entry) => gathered.push(entry));
      await world.settle();
    }
    expect(world.acks).toEqual(['a!', 'a', 'b!', 'b', 'c!', 'c', 'd!', 'd', 'e!', 'e']);
    expect(world.writes).toBe(5);
    expect(world.warnings).toHaveLength(1);
    expect(await world.files()).toEqual([]);
  });

  it('a write that fails otherwise ends the spool, said once: what came stays un-acked and readable, and nothing more is taken', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    const a = world.put('a', 200);
    await world.settle();
    await world.disk.removeTree(FOLDER);
    const [b, c] = [world.put('b', 200), world.put('c', 200)];
    await world.settle();
    expect(world.failures).toMatchObject([{ code: 'MR_SPOOL_FAILED' }]);
    expect(() => world.put('d', 20)).toThrow(world.failures[0] as Error);
    // Files that are open are still there for who has them (§2.7).
    expect((await contentOf(world.spool, [a, b, c])).value).toBe('a'.repeat(184) + 'b'.repeat(184) + 'c'.repeat(184));
    b.flushed();
    a.flushed();
    expect(world.acks).toEqual(['a', 'b!', 'b', 'a!']);
    await world.spool.close();
  });

  it('a read that fails says so, and is no silence', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    const a = world.put('a', 100);
    await world.settle();
    world.failReads = true;
    const details = { what: 'read', path: `${FOLDER}/segment-000001.log`, reason: 'EIO' };
    await expect(contentOf(world.spool, [a])).rejects.toMatchObject({ code: 'MR_SPOOL_FAILED', details });
  });

  it('after close nothing is acked for the source, and what was in hand can still be flushed or let go', async () => {
    const world = await SpoolWorld.open(limitsOf({ diskQuotaBytes: 1000, memoryBytes: 990, highRatio: 0.1, lowRatio: 0.05 }));
    const entries = ['a', 'b', 'c'].map((name) => world.put(name, 90));
    expect(world.acks).toEqual(['a']);
    await world.spool.close();
    await world.spool.close();
    entries[0]!.release();
    entries[1]!.flushed();
    entries[1]!.flushed();
    entries[2]!.release();
    expect(world.acks).toEqual(['a', 'b!', 'b']);
    expect(entries.map(({ state }) => state)).toEqual(['consumed', 'consumed', 'consumed']);
  });
});

/** spec storage-sink §2.1 */
describe('the folder of a spool', () => {
  it('is emptied at start, whatever an earlier run left, and removed at stop; siblings stay', async () => {
    const world = new SpoolWorld();
    const { disk } = world;
    for (const folder of ['/spools', FOLDER, '/spools/users']) await disk.makeFolder(folder);
    for (const path of [`${FOLDER}/segment-000001.log`, `${FOLDER}/segment-1000000.log`, '/spools/users/segment-000001.log']) {
      await (await disk.open(path, 'w')).write([Buffer.from('old')]);
    }
    world.spool = await world.openSpool(DISK_ONLY);
    expect(await world.files()).toEqual([]);
    world.put('a', 100);
    await world.settle();
    expect(await world.files()).toEqual(['segment-000001.log']);
    await world.spool.close();
    expect((await world.files('/spools')).filter((name) => !name.includes('.lock'))).toEqual(['users']);
    expect(await world.files('/spools/users')).toEqual(['segment-000001.log']);
  });

  it('loses nothing that no spool made, when it was named by mistake', async () => {
    const world = new SpoolWorld();
    for (const folder of ['/spools', FOLDER, `${FOLDER}/segment-000001.log`]) await world.disk.makeFolder(folder);
    await (await world.disk.open(`${FOLDER}/thesis.tex`, 'w')).write([Buffer.from('years of work')]);
    world.spool = await world.openSpool(DISK_ONLY);
    await world.spool.close();
    expect(await world.files()).toEqual(['segment-000001.log', 'thesis.tex']);
    expect(world.warnings).toEqual([]);
  });

  it('that cannot be made is said at start', async () => {
    const world = new SpoolWorld();
    await world.disk.makeFolder('/spools');
    await (await world.disk.open(FOLDER, 'w')).write([]);
    await expect(world.openSpool(DISK_ONLY)).rejects.toMatchObject({ code: 'MR_SPOOL_UNUSABLE', details: { folder: FOLDER } });
    await world.disk.remove(FOLDER);
    await (await world.openSpool(DISK_ONLY)).close();
  });

  it('that cannot be removed at stop is a warning, and the lock is given free all the same', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    await world.disk.removeTree(FOLDER);
    await world.spool.close();
    expect(world.warnings).toEqual(['the folder of the spool could not be removed; the next start empties it']);
    await (await world.openSpool(DISK_ONLY)).close();
  });

  it('stands beside those of other spools, and one that closes takes nothing from them', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    const { clock } = world.sim;
    const context = { clock, gauge: world.gauge, logger: { debug() {}, info() {}, warn() {}, error() {} } };
    const other = await Spool.open({ folder: '/spools/users', limits: DISK_ONLY, disk: world.disk, context, onFailure() {} });
    world.put('a', 100);
    await other.close();
    await world.settle();
    expect(await world.files()).toEqual(['segment-000001.log']);
  });
});
