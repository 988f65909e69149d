import { describe, expect, it } from '@jest/globals';
import { MemoryStore } from '../../../../lib/stores/index.ts';
import { canonicalText } from '../../../../pipelines/cloud-storage-sink/root/target-identity.ts';
import { TargetRoot } from '../../../../pipelines/cloud-storage-sink/root/target-root.ts';
import { type ManualClock, manualClock } from '../../../support/manual-clock.ts';
import { settle } from '../../../support/sink-world.ts';

const FORMAT = { protocol: 'canal-json', terminator: '\r\n' };

async function open(store: MemoryStore, clock: ManualClock = manualClock(), format: typeof FORMAT = FORMAT) {
  const failures: unknown[] = [];
  const root = await TargetRoot.open({ store, clock, format, onFailure: (error) => failures.push(error) });
  return { root, failures };
}

async function metadataOf(store: MemoryStore): Promise<string | null> {
  return (await store.get('metadata'))?.toString() ?? null;
}

/** spec storage-sink §4.5 */
describe('the checkpoint at the target', () => {
  it('is written at most every 2 s, and the last one of a quiet source is not lost', async () => {
    const store = new MemoryStore();
    const clock = manualClock();
    const { root } = await open(store, clock);
    await root.publish(10n, false);
    await root.publish(11n, false);
    await root.publish(12n, false);
    expect(await metadataOf(store)).toBe('{"checkpoint-ts":10}');
    clock.advance(2000);
    await settle();
    expect(await metadataOf(store)).toBe('{"checkpoint-ts":12}');
  });

  it('is written at once when it is final', async () => {
    const store = new MemoryStore();
    const { root } = await open(store);
    await root.publish(10n, false);
    await root.publish(11n, true);
    expect(await metadataOf(store)).toBe('{"checkpoint-ts":11}');
  });

  it('#2943, #2945: never goes back, not after a restart either', async () => {
    const store = new MemoryStore();
    await store.put('metadata', [Buffer.from('{"checkpoint-ts":18446744073709551615}')]);
    const { root } = await open(store);
    await root.publish(11n, true);
    expect(await metadataOf(store)).toBe('{"checkpoint-ts":18446744073709551615}');
  });

  it('reports a write that failed after everybody had gone, and fails from then on', async () => {
    const store = new MemoryStore();
    const clock = manualClock();
    const { root, failures } = await open(store, clock);
    await root.publish(10n, false);
    await root.publish(11n, false);
    store.putIf = () => Promise.reject(new Error('disk full'));
    clock.advance(2000);
    await settle();
    expect(failures).toEqual([expect.objectContaining({ message: 'disk full' })]);
    await expect(root.publish(12n, true)).rejects.toThrow('disk full');
  });

  it('is not written after the close', async () => {
    const store = new MemoryStore();
    const clock = manualClock();
    const { root } = await open(store, clock);
    await root.publish(10n, false);
    await root.publish(11n, false);
    await root.close();
    clock.advance(60_000);
    await settle();
    expect(await metadataOf(store)).toBe('{"checkpoint-ts":10}');
  });
});

describe('the claim on a target', () => {
  const identity = { system: 7_000_000_000_000_000_001n, slot: 'millrace', tables: [1, 2] };

  it('is remembered exactly, and the same source may come again, whatever the order of its members', async () => {
    const store = new MemoryStore();
    const first = await open(store);
    expect(first.root.identity).toBeNull();
    await first.root.claim(identity);
    const second = await open(store);
    expect(canonicalText(second.root.identity!)).toBe(canonicalText(identity));
    const { system, slot, tables } = identity;
    await second.root.claim({ tables, slot, system });
  });

  it('P2: is refused to another source', async () => {
    const store = new MemoryStore();
    await (await open(store)).root.claim(identity);
    const other = { ...identity, system: identity.system + 1n };
    await expect((await open(store)).root.claim(other)).rejects.toMatchObject({ code: 'MR_TARGET_OF_ANOTHER_SOURCE' });
  });

  it('tiflow #7860: is refused to the second of two sources that start at the same moment', async () => {
    const store = new MemoryStore();
    const [first, second] = [await open(store), await open(store)];
    await first.root.claim(identity);
    await expect(second.root.claim({ slot: 'other' })).rejects.toMatchObject({ code: 'MR_TARGET_OF_ANOTHER_SOURCE' });
  });

  it('is refused when the rows would have another format', async () => {
    const store = new MemoryStore();
    await (await open(store)).root.claim(identity);
    await expect(open(store, manualClock(), { protocol: 'canal-json', terminator: '\n' })).rejects.toMatchObject({
      code: 'MR_TARGET_OF_ANOTHER_FORMAT',
    });
  });

  it.each(['', '{', 'null', '{"v":2}', '{"v":1}', '{"v":1,"identity":1,"format":{}}'])(
    'is not guessed from a damaged object: %s',
    async (content) => {
      const store = new MemoryStore();
      await store.put('meta/source.json', [Buffer.from(content)]);
      await expect(open(store)).rejects.toMatchObject({ code: 'MR_STORAGE_FILE_MALFORMED' });
    },
  );
});
