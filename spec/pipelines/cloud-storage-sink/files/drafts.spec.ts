import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { dmlEvent, RowBlockWriter } from '../../../../lib/events/index.ts';
import { canalJson } from '../../../../lib/formats/canal-json.ts';
import type { SpoolLimitOptions } from '../../../../lib/spool/index.ts';
import { MemoryStore, type ObjectDraft, openFsStore } from '../../../../lib/stores/index.ts';
import { Drafts } from '../../../../pipelines/cloud-storage-sink/files/drafts.ts';
import type { SpooledRows } from '../../../../pipelines/cloud-storage-sink/rows/spool-rows.ts';
import { limitsOf, SpoolWorld } from '../../../lib/spool/world.ts';
import { publishedRows } from '../../../support/published.ts';
import { openWorld, settle, table } from '../../../support/sink-world.ts';

const users = table('users', 1n, ['id', 'name'], ['id']);
const MIB = 1024 * 1024;
const NO_HEADER = { ...canalJson({ now: () => 0 }), header: () => null };

/** A store that tells what its drafts are asked for, and whose writes wait while they are held. */
class DraftStore extends MemoryStore {
  readonly asked: string[] = [];
  failure: Error | null = null;
  #held: (() => void)[] | null = null;

  hold(): void {
    this.#held ??= [];
  }

  release(): void {
    for (const go of this.#held ?? []) go();
    this.#held = null;
  }

  override draft(): ObjectDraft {
    const inner = super.draft();
    this.asked.push('begin');
    return {
      write: async (pieces) => {
        this.asked.push(`write ${lettersOf(pieces)}`);
        if (this.#held !== null) await new Promise<void>((resolve) => this.#held!.push(resolve));
        await inner.write(pieces);
        this.asked.push('written');
      },
      putIfAbsent: async (key) => {
        this.asked.push('put');
        if (this.failure !== null) throw this.failure;
        return inner.putIfAbsent(key);
      },
      discard: async () => {
        this.asked.push('discard');
        await inner.discard();
      },
    };
  }
}

const lettersOf = (pieces: readonly Uint8Array[]) =>
  Buffer.concat(pieces)
    .toString()
    .replace(/(.)\1{43}/g, '$1');

/** Drafts over a spool, in which rows are told by a letter. */
class DraftWorld {
  readonly store = new DraftStore();
  readonly world: SpoolWorld;
  readonly drafts: Drafts;

  private constructor(world: SpoolWorld, head: string | null, bytesMin: number) {
    this.world = world;
    const encoder = { ...NO_HEADER, header: () => (head === null ? null : Buffer.from(head)) };
    this.drafts = new Drafts({ store: this.store, spool: world.spool, encoder, bytesMin, filesMax: 4 });
  }

  static async open(
    limits: SpoolLimitOptions,
    { head = null, bytesMin = 100 }: { head?: string | null; bytesMin?: number } = {},
  ): Promise<DraftWorld> {
    return new DraftWorld(await SpoolWorld.open(limitsOf(limits)), head, bytesMin);
  }

  /** Rows of 60 bytes, 44 of them in the file, are gathered. */
  gather(rows: SpooledRows[], names: string): void {
    for (const name of names) {
      rows.push({ table: users, rows: 1, bytes: 44, entry: this.world.put(name, 60) } as SpooledRows);
      this.drafts.grown(rows, 44 * rows.length);
    }
  }

  /** What each write has brought, by its letters. */
  get written(): readonly string[] {
    return this.store.asked.filter((text) => text.startsWith('write ')).map((text) => text.slice('write '.length));
  }

  /** An object, each of the rows by its letter. */
  async content(key: string): Promise<string | undefined> {
    return (await this.store.get(key))?.toString().replace(/(.)\1{43}/g, '$1');
  }
}

describe('a data file that is begun while its rows are gathered', () => {
  it('is begun when it is large enough, grows by some at a time, and gets the rest when it is due', async () => {
    const drafted = await DraftWorld.open({});
    const { drafts, world, store } = drafted;
    const rows: SpooledRows[] = [];
    const steps: string[] = [];
    for (const names of ['ab', 'c', 'de', 'f', 'g']) {
      drafted.gather(rows, names);
      await world.settle();
      steps.push(drafted.written.join(' '));
    }
    expect(steps).toEqual(['', 'abc', 'abc', 'abc def', 'abc def']);
    expect(await drafts.take(rows)!.putIfAbsent('f')).toBe(true);
    expect(drafted.written).toEqual(['abc', 'def', 'g']);
    expect(await drafted.content('f')).toBe('abcdefg');
    expect([store.asked.slice(-2), drafts.take(rows)]).toEqual([['put', 'discard'], null]);
  });

  it('begins with the header', async () => {
    const drafted = await DraftWorld.open({}, { head: 'id,name' });
    const rows: SpooledRows[] = [];
    drafted.gather(rows, 'abcdef');
    await drafted.drafts.take(rows)!.putIfAbsent('f');
    expect(await drafted.content('f')).toBe('id,nameabcdef');
  });

  it('takes its rows out of the memory, and their buffers are used again, when they are written and not before', async () => {
    const drafted = await DraftWorld.open({});
    const { world, store } = drafted;
    const rows: SpooledRows[] = [];
    store.hold();
    drafted.gather(rows, 'abc');
    await world.settle();
    expect([drafted.written, world.recycled, world.spool.status.memoryBytes]).toEqual([['abc'], [], 180]);
    store.release();
    await world.settle();
    expect([world.recycled, world.spool.status.memoryBytes, world.spool.status.diskBytes]).toEqual([['a', 'b', 'c'], 0, 180]);
    expect(world.acks).toEqual(['a', 'b', 'c']);
  });

  it('gathers on while it is written, and writes what has come meanwhile at once', async () => {
    const drafted = await DraftWorld.open({});
    const rows: SpooledRows[] = [];
    drafted.store.hold();
    for (const name of 'abcdefgh') drafted.gather(rows, name);
    const put = drafted.drafts.take(rows)!.putIfAbsent('f');
    await drafted.world.settle();
    expect(drafted.written).toEqual(['abc']);
    drafted.store.release();
    await put;
    expect(drafted.written).toEqual(['abc', 'defgh']);
  });

  it('takes rows from the disk, and leaves those that are on their way there until they are there', async () => {
    const drafted = await DraftWorld.open({ memoryBytes: 1, segmentBytes: 10_000 });
    const { world } = drafted;
    const rows: SpooledRows[] = [];
    world.stall();
    drafted.gather(rows, 'abcdef');
    await world.settle();
    expect([drafted.written, world.recycled]).toEqual([[], []]);
    world.goOn();
    await world.settle();
    world.stall();
    drafted.gather(rows, 'ghi');
    await world.settle();
    expect(drafted.written.join('')).toBe('abcdef');
    expect(world.spool.status).toMatchObject({ diskBytes: 540, entries: 9 });
    await drafted.drafts.take(rows)!.putIfAbsent('f');
    expect(await drafted.content('f')).toBe('abcdefghi');
    world.goOn();
  });

  it('reads what is on its way to the disk when it is due', async () => {
    const drafted = await DraftWorld.open({ memoryBytes: 1, segmentBytes: 10_000 });
    const rows: SpooledRows[] = [];
    drafted.world.stall();
    drafted.gather(rows, 'abcdef');
    await drafted.drafts.take(rows)!.putIfAbsent('f');
    expect(await drafted.content('f')).toBe('abcdef');
    drafted.world.goOn();
  });

  it('is not put, and nothing of it stays, when rows of it cannot be read', async () => {
    const drafted = await DraftWorld.open({ memoryBytes: 1, segmentBytes: 10_000 });
    const { world, store, drafts } = drafted;
    const rows: SpooledRows[] = [];
    drafted.gather(rows, 'abc');
    await world.settle();
    world.failReads = true;
    await expect(drafts.take(rows)!.putIfAbsent('f')).rejects.toMatchObject({ code: 'MR_SPOOL_FAILED' });
    expect([store.asked, drafts.take(rows), await store.exists('f')]).toEqual([['begin', 'discard'], null, false]);
  });

  it('is not put when it is shorter than its rows', async () => {
    const { store, world } = await DraftWorld.open({});
    const spool = new Proxy(world.spool, {
      get: (target, name) => {
        if (name === 'read') return async function* () {};
        const member: unknown = Reflect.get(target, name);
        return typeof member === 'function' ? member.bind(target) : member;
      },
    });
    const drafts = new Drafts({ store, spool, encoder: NO_HEADER, bytesMin: 1, filesMax: 1 });
    const rows = [{ table: users, rows: 1, bytes: 44, entry: world.put('a', 60) } as SpooledRows];
    drafts.grown(rows, 44);
    await expect(drafts.take(rows)!.putIfAbsent('f')).rejects.toMatchObject({
      code: 'MR_STORE_FAILED',
      details: { reason: '0 of its 44 bytes are written' },
    });
    expect(await store.exists('f')).toBe(false);
  });

  it('is over when the store does not take it', async () => {
    const drafted = await DraftWorld.open({});
    const rows: SpooledRows[] = [];
    drafted.gather(rows, 'abc');
    drafted.store.failure = new Error('no');
    await expect(drafted.drafts.take(rows)!.putIfAbsent('f')).rejects.toThrow('no');
    expect(drafted.drafts.take(rows)).toBeNull();
  });

  it('reads its rows no more when it is discarded', async () => {
    const drafted = await DraftWorld.open({});
    const rows: SpooledRows[] = [];
    drafted.store.hold();
    drafted.gather(rows, 'abc');
    await drafted.world.settle();
    drafted.gather(rows, 'def');
    let isDiscarded = false;
    const discarding = drafted.drafts
      .take(rows)!
      .discard()
      .then(() => (isDiscarded = true));
    await drafted.world.settle();
    expect(isDiscarded).toBe(false);
    drafted.store.release();
    await discarding;
    expect(drafted.store.asked).toEqual(['begin', 'write abc', 'written', 'discard']);
  });

  it('goes on to its end when it is being put as the sink is closed, and is put no more when it was discarded before', async () => {
    const drafted = await DraftWorld.open({});
    const { store, drafts, world } = drafted;
    const [one, other]: SpooledRows[][] = [[], []];
    store.hold();
    for (const rows of [one!, other!]) drafted.gather(rows, 'abc');
    const [put, late] = [drafts.take(one!)!, drafts.take(other!)!];
    const putting = put.putIfAbsent('f');
    const closed = drafts.close();
    await world.settle();
    store.release();
    await closed;
    expect([await putting, await drafted.content('f')]).toEqual([true, 'abc']);
    await expect(late.putIfAbsent('g')).rejects.toThrow('given up');
    expect(await store.exists('g')).toBe(false);
  });

  it('is left when others are stopped, where somebody has taken it to put it', async () => {
    const drafted = await DraftWorld.open({});
    const { drafts, world } = drafted;
    const [one, other]: SpooledRows[][] = [[], []];
    for (const rows of [one!, other!]) drafted.gather(rows, 'abc');
    await world.settle();
    const taken = drafts.take(one!)!;
    await drafts.stop();
    expect([await taken.putIfAbsent('f'), drafts.take(other!)]).toEqual([true, null]);
  });

  it('is discarded with the others at the end, and none is begun then', async () => {
    const drafted = await DraftWorld.open({});
    const [one, other, late]: SpooledRows[][] = [[], [], []];
    drafted.gather(one!, 'abc');
    drafted.gather(other!, 'def');
    await drafted.drafts.close();
    drafted.gather(late!, 'ghi');
    expect(drafted.store.asked.filter((text) => !text.startsWith('wr'))).toEqual(['begin', 'begin', 'discard', 'discard']);
  });

  it('is one of so many at most, because each may have a file open', async () => {
    const drafted = await DraftWorld.open({});
    const files = Array.from({ length: 6 }, (): SpooledRows[] => []);
    for (const rows of files) drafted.gather(rows, 'abc');
    const begun = () => drafted.store.asked.filter((text) => text === 'begin').length;
    expect(begun()).toBe(4);
    await drafted.drafts.take(files[0]!)!.putIfAbsent('f');
    drafted.gather(files[5]!, 'd');
    expect(begun()).toBe(5);
    await drafted.drafts.close();
  });

  it('is none of a store that writes nothing before it has a key', async () => {
    const world = await SpoolWorld.open(limitsOf({}));
    const { store } = await DraftWorld.open({});
    const rows = [{ table: users, rows: 1, bytes: 44, entry: world.put('a', 60) } as SpooledRows];
    const drafts = new Drafts({
      store: Object.assign(store, { draft: () => null }),
      spool: world.spool,
      encoder: NO_HEADER,
      bytesMin: 1,
      filesMax: 1,
    });
    drafts.grown(rows, 44);
    expect(drafts.take(rows)).toBeNull();
  });
});

/** A block of rows with about so many bytes in all. */
function block(commitTs: number, bytes: number, of = users) {
  const writer = new RowBlockWriter(of).beginTransaction(BigInt(commitTs));
  for (let id = 0; id < bytes / 10_000; id++) writer.insert({ id: `${commitTs}-${id}`, name: 'y'.repeat(10_000) });
  return dmlEvent(writer.build());
}

async function withFolder(body: (root: string, temporaries: () => Promise<string[]>) => Promise<void>): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'millrace-drafts-'));
  try {
    await body(root, () => readdir(join(root, '.millrace-tmp')));
  } finally {
    await rm(root, { recursive: true });
  }
}

describe('the sink into files', () => {
  it('has written most of a large file before it is due, and what it publishes is what came', async () => {
    await withFolder(async (root, temporaries) => {
      const store = await openFsStore(root);
      const world = await openWorld(store, { fileSize: 64 * MIB, flushInterval: '10m' });
      for (let ts = 1; ts <= 12; ts++) world.send(block(ts, MIB));
      await until(async () => (await temporaries()).length === 1);
      expect(await publishedRows(store)).toEqual([]);
      await world.complete();
      await until(async () => world.end !== null);
      expect([world.end, world.reports.length, await temporaries()]).toEqual(['complete', 1, []]);
      const rows = await publishedRows(store);
      expect([rows.length, rows[0], rows.at(-1)]).toEqual([12 * 105, '1/0 1-0', '12/104 12-104']);
      await world.close();
      await store.close();
    });
  });

  it('leaves nothing of a file that was not due when it is closed', async () => {
    await withFolder(async (root, temporaries) => {
      const store = await openFsStore(root);
      const world = await openWorld(store, { fileSize: 64 * MIB, flushInterval: '10m' });
      for (let ts = 1; ts <= 6; ts++) world.send(block(ts, MIB));
      await until(async () => (await temporaries()).length === 1);
      await world.close();
      expect(await temporaries()).toEqual([]);
      await store.close();
    });
  });

  it('leaves nothing of a file of rows that are stale', async () => {
    await withFolder(async (root, temporaries) => {
      const store = await openFsStore(root);
      const options = { fileSize: 64 * MIB, flushInterval: '10m' };
      const later = await openWorld(store, options);
      later.send(block(1, 10_000, table('users', 9n, ['id', 'name'], ['id'])));
      await later.complete();
      await until(async () => later.end !== null);
      await later.close();
      const world = await openWorld(store, options);
      for (let ts = 1; ts <= 6; ts++) world.send(block(ts, MIB));
      await until(async () => (await temporaries()).length === 1);
      await world.complete();
      await until(async () => world.end !== null);
      expect([world.end, world.reports, await temporaries()]).toEqual(['complete', [], []]);
      await world.close();
      await store.close();
    });
  });

  it('begins none of a store that makes a promise of every answer', async () => {
    const store = new MemoryStore();
    const wrapped = Object.assign(store, { draft: async () => null }) as unknown as MemoryStore;
    const world = await openWorld(wrapped, { flushInterval: '10m' }, undefined, { draftBytesMin: 1000 });
    for (let ts = 1; ts <= 3; ts++) world.send(block(ts, 20_000));
    await world.complete();
    await until(async () => world.end !== null);
    expect([world.end, (await publishedRows(store)).length]).toEqual(['complete', 6]);
    await world.close();
  });

  it('tells what went wrong with a draft, and not that it could not be discarded either', async () => {
    const store = new DraftStore();
    store.failure = new Error('the disk is gone');
    const draft = store.draft.bind(store);
    const broken = Object.assign(store, {
      draft: () => ({
        ...draft(),
        discard: () => {
          throw new Error('a defect');
        },
      }),
    });
    const world = await openWorld(broken, { flushInterval: '10m' }, undefined, { draftBytesMin: 1000 });
    for (let ts = 1; ts <= 3; ts++) world.send(block(ts, 20_000));
    await world.complete();
    await until(async () => world.end !== null);
    expect(world.end).toMatchObject({ code: 'MR_SINK_WRITE_FAILED', message: expect.stringContaining('the disk is gone') });
    await world.close();
  });

  it('I1: acks nothing of a file whose draft the store does not take', async () => {
    const store = new DraftStore();
    store.failure = new Error('the disk is gone');
    const world = await openWorld(store, { flushInterval: '10m' }, undefined, { draftBytesMin: 1000 });
    let isFlushed = false;
    world.send(block(1, 20_000));
    world.send(block(2, 20_000)).ack.addPostFlush(() => (isFlushed = true));
    await world.complete();
    await until(async () => world.end !== null);
    expect(world.end).toMatchObject({ code: 'MR_SINK_WRITE_FAILED', message: expect.stringContaining('the disk is gone') });
    expect([isFlushed, await publishedRows(store)]).toEqual([false, []]);
    await world.close();
  });
});

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await settle();
}
