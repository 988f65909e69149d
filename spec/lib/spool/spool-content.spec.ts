import { describe, expect, it } from '@jest/globals';
import { crc32Of } from '../../../lib/formats/checksum.ts';
import { contentOf, FOLDER, limitsOf, message, SpoolWorld } from './world.ts';

/** Memory holds 100 bytes; the rest goes to disk, in files of 200. */
const SMALL = limitsOf({ diskQuotaBytes: 10_000, memoryBytes: 100, segmentBytes: 200 });
const DISK_ONLY = limitsOf({ diskQuotaBytes: 10_000, memoryBytes: 1, segmentBytes: 200 });

describe('what a spool gives back', () => {
  it('is there at once, without a read, while all of it is in memory', async () => {
    const world = await SpoolWorld.open(SMALL);
    const [a, c] = [world.put('a', 60), world.put('c', 40)];
    expect(Buffer.concat(world.spool.held([a, c])!).toString()).toBe('a'.repeat(44) + 'c'.repeat(24));
    world.spool.flushed([a, c]);
    expect(world.recycled).toEqual(['a', 'c']);
    expect(world.loads).toEqual([]);
  });

  it('is not kept in memory while a part of it is on its way to the disk: only what is read at that moment is', async () => {
    const world = await SpoolWorld.open(SMALL);
    world.stall();
    const [a, b, c] = [world.put('a', 60), world.put('b', 80), world.put('c', 80)];
    expect([b.state, c.state]).toEqual(['writing', 'queued']);
    expect(world.spool.held([a, b, c])).toBeNull();
    const { value } = await world.spool.read([b]).next();
    world.goOn();
    await world.settle();
    expect([b.state, c.state, world.recycled]).toEqual(['disk', 'disk', ['c']]);
    expect(Buffer.concat(value!.values).toString()).toBe('b'.repeat(64));
    world.spool.flushed([a, b, c]);
    expect(world.recycled).toEqual(['c', 'a', 'b']);
  });

  it('is to be read when a part of it is on disk, and then nothing is kept in memory for it', async () => {
    const world = await SpoolWorld.open(SMALL);
    const [a, b] = [world.put('a', 60), world.put('b', 80)];
    await world.settle();
    expect(world.spool.held([a, b])).toBeNull();
    expect(world.spool.held([a])).not.toBeNull();
    expect(world.recycled).toEqual(['b']);
  });

  it('can be read again from its beginning, also when the reading was broken off, until it is let go', async () => {
    const world = await SpoolWorld.open(DISK_ONLY);
    const entries = ['a', 'b', 'c'].map((name) => world.put(name, 100));
    await world.settle();
    for await (const _ of world.spool.read(entries)) break;
    const all = { keys: [], value: 'a'.repeat(84) + 'b'.repeat(84) + 'c'.repeat(84) };
    expect([await contentOf(world.spool, entries), await contentOf(world.spool, entries)]).toEqual([all, all]);
    world.spool.flushed(entries);
    await expect(contentOf(world.spool, entries)).rejects.toThrow('after it was let go');
  });

  it('has a checksum that needs no read, wherever it is: in memory, on the way, waiting, or on disk', async () => {
    const world = await SpoolWorld.open({ ...SMALL, diskQuotaBytes: 300 });
    const first = [world.put('a', 60), world.put('b', 80)];
    await world.settle();
    world.stall();
    const entries = [...first, world.put('c', 40), world.put('d', 90), world.put('e', 200)];
    await world.settle();
    expect(entries.map(({ state }) => state)).toEqual(['memory', 'disk', 'memory', 'writing', 'waiting']);
    const text = [...'abcde'].map((name, index) => name.repeat(entries[index]!.valueBytes)).join('');
    expect(world.spool.checksumOf(entries)).toBe(crc32Of(Buffer.from(text)));
    expect(world.spool.checksumOf(entries, crc32Of(Buffer.from('header')))).toBe(crc32Of(Buffer.from(`header${text}`)));
    expect(world.loads).toEqual([]);
  });

  it('has the checksum that it came with: its bytes are not looked at for it, in memory or on disk', async () => {
    const world = await SpoolWorld.open({ ...SMALL, diskQuotaBytes: 300 });
    const put = (name: string, crc32: number) => world.spool.enqueue({ ...message(name, 100, world.ack(name)), valueChecksum: crc32 });
    const entries = [put('a', 7), put('b', 8)];
    await world.settle();
    expect(entries.map(({ state }) => state)).toEqual(['memory', 'disk']);
    expect(entries.map((entry) => world.spool.checksumOf([entry]))).toEqual([7, 8]);
  });

  it('is acked as durable before any of it is let go: who is woken by the room finds the acks of the file done', async () => {
    const world = await SpoolWorld.open(limitsOf({ diskQuotaBytes: 1000, memoryBytes: 1000, highRatio: 0.2, lowRatio: 0.1 }));
    const entries = ['a', 'b', 'c'].map((name) => world.put(name, 150));
    const later = world.put('d', 50);
    expect(world.acks).toEqual(['a']);
    world.spool.flushed(entries);
    expect(world.acks).toEqual(['a', 'a!', 'b!', 'b', 'c!', 'c', 'd']);
    world.spool.flushed([...entries, later]);
    expect(world.acks.slice(7)).toEqual(['d!']);
  });
});

describe('what an owner keeps in memory for entries', () => {
  it('holds the source too: it does not grow with the disk quota', async () => {
    const limits = limitsOf({ diskQuotaBytes: 10 ** 9, memoryBytes: 1024 * 1024, highEntries: 1024, lowEntries: 768 });
    const world = await SpoolWorld.open(limits);
    const put = (name: string) => world.spool.enqueue({ ...message(name, 100, world.ack(name)), keptBytes: 1024 * 1024 });
    const entries = [put('a'), put('b'), put('c')];
    // 1024 are many; each of these counts as 683.
    expect(world.acks).toEqual(['a']);
    expect(world.presses).toBe(1);
    world.spool.flushed(entries.slice(0, 2));
    expect(world.acks).toEqual(['a', 'a!', 'b!', 'b', 'c']);
  });
});

/** spec storage-sink §2.1 */
describe('the folder of a spool that takes it late', () => {
  it('is not touched while memory has room, nor by the close', async () => {
    const world = new SpoolWorld();
    const spool = await world.openSpool(SMALL, 'spill');
    spool.enqueue(message('a', 100, world.ack('a')));
    await world.settle();
    await spool.close();
    expect(await world.disk.stat('/spools')).toBeNull();
  });

  it('is taken and emptied before the first entry is written, and given back by the close', async () => {
    const world = new SpoolWorld();
    await world.disk.makeFolder('/spools');
    await world.disk.makeFolder(FOLDER);
    await (await world.disk.open(`${FOLDER}/segment-000007.log`, 'wx')).write([Buffer.from('of an earlier run')]);
    const spool = await world.openSpool(SMALL, 'spill');
    const entries = [spool.enqueue(message('a', 100)), spool.enqueue(message('b', 100, world.ack('b')))];
    await world.settle();
    expect([await world.files(), world.acks]).toEqual([['segment-000001.log'], ['b']]);
    expect((await contentOf(spool, entries)).value).toHaveLength(168);
    await spool.close();
    expect(await world.disk.stat(FOLDER)).toBeNull();
  });

  it('that another spool holds is the failure of the first entry that needs it', async () => {
    const world = await SpoolWorld.open(SMALL);
    const spool = await world.openSpool(SMALL, 'spill');
    spool.enqueue(message('a', 100, world.ack('a')));
    spool.enqueue(message('b', 100, world.ack('b')));
    await world.settle();
    expect(world.failures).toEqual([expect.objectContaining({ code: 'MR_STATE_LOCKED' })]);
    expect(world.acks).toEqual(['a']);
    await spool.close();
    expect(await world.files()).toEqual([]);
  });
});
