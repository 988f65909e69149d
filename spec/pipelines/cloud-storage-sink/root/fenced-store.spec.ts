import { describe, expect, it } from '@jest/globals';
import { dmlEvent, RowBlockWriter } from '../../../../lib/events/index.ts';
import { MemoryStore } from '../../../../lib/stores/index.ts';
import { FencedStore } from '../../../../pipelines/cloud-storage-sink/root/fenced-store.ts';
import { GateStore } from '../../../support/gate-store.ts';
import { manualClock } from '../../../support/manual-clock.ts';
import { openWorld, settle, table } from '../../../support/sink-world.ts';

const users = table('users', 7n, ['id', 'name'], ['id']);

describe('the fence between a run that has ended and its store', () => {
  it('I9, tiflow #8698, #9162, #10044: a run that is left to itself writes nothing more when its store answers at last', async () => {
    const store = new GateStore();
    store.hold(/CDC\d+\.json$/);
    const clock = manualClock();
    const world = await openWorld(store, { fileSize: 1024 }, clock);
    const name = 'x'.repeat(2000);
    world.send(dmlEvent(new RowBlockWriter(users).beginTransaction(10n).insert({ id: '1', name }).build()));
    await settle();
    expect(store.waiting).toBe(1);
    const closing = world.close();
    await settle();
    clock.advance(4000);
    await settle();
    // It has not answered yet.
    await closing;
    const before = [...store.written];
    store.release();
    await settle();
    // The write that was under way; none of those that follow it in a file's life.
    expect(store.written.length).toBe(before.length + 1);
  });

  it('lets reads through and refuses whatever writes', async () => {
    const inner = new MemoryStore();
    await inner.put('a', [Buffer.from('x')]);
    const store = new FencedStore(inner, 'p');
    store.shut();
    expect(String(await store.get('a'))).toBe('x');
    expect(await store.exists('a')).toBe(true);
    for (const write of [() => store.put('b', []), () => store.putIfAbsent('b', []), () => store.delete('a')]) {
      await expect(write()).rejects.toMatchObject({ code: 'MR_STOPPED' });
    }
    expect(await inner.exists('a')).toBe(true);
    expect(await inner.exists('b')).toBe(false);
  });
});
