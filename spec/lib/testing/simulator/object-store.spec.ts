import { describe, expect, it } from '@jest/globals';
import { MemoryStore } from '../../../../lib/stores/index.ts';
import { SimObjectStore, Simulation, type StoreFaults, simulate } from '../../../../lib/testing/index.ts';
import { describeObjectStore } from '../../../../lib/testing/object-store-suite.ts';

describeObjectStore('simulated', async () => {
  const store = new SimObjectStore(new Simulation(1));
  return { store, another: async () => store, close: async () => {} };
});

const x = [Buffer.from('x')];

describe('SimObjectStore', () => {
  it.each<[string, StoreFaults, string, boolean, number]>([
    ['before the effect', { before: 1 }, 'MR_STORE_FAILED', false, 10],
    ['after the effect', { after: 1 }, 'MR_STORE_FAILED', true, 10],
    ['because it is throttled', { throttled: 1 }, 'MR_STORE_UNAVAILABLE', false, 10],
    ['by a timeout without effect', { timeout: 1, never: 1, timeoutMs: 300 }, 'MR_STORE_UNAVAILABLE', false, 300],
  ])('fails %s', async (_, faults, code, isThere, tookMs) => {
    await simulate({
      seed: 1,
      world: async (sim) => {
        const store = new SimObjectStore(sim, { latencyMs: [10, 10], faults });
        await expect(store.put('k', x)).rejects.toMatchObject({
          code,
          details: expect.objectContaining({ operation: 'put', key: 'k', uri: 'sim://store' }),
        });
        expect(sim.clock.now()).toBe(tookMs);
        await sim.sleep(10_000);
        expect(await store.objects.exists('k')).toBe(isThere);
      },
    });
  });

  it('of a body in parts nothing is seen when the connection is lost, or its sender crashes, between two of them', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      await simulate({
        seed,
        world: async (sim) => {
          const node = sim.node('sender');
          const store = new SimObjectStore(sim, { faults: { before: 0.3 } });
          const outcomes: string[] = [];
          node.run(async ({ clock, port }) => {
            const body = {
              bytes: 3,
              async *chunks() {
                for (let part = 0; part < 3; part++) {
                  await clock.sleep(10);
                  yield Buffer.from('x');
                }
              },
            };
            await port(store)
              .put('k', body)
              .then(
                () => outcomes.push('done'),
                () => outcomes.push('failed'),
              );
          });
          await sim.sleep(sim.between(5, 40));
          node.crash();
          await sim.sleep(100);
          expect(await store.objects.exists('k')).toBe(outcomes[0] === 'done');
        },
      });
    }
  });

  it('a timeout can have its effect late, behind what others wrote meanwhile', async () => {
    await simulate({
      seed: 1,
      world: async (sim) => {
        const store = new SimObjectStore(sim, { faults: { timeout: 1, never: 0, timeoutMs: 100, lateMs: [50, 50] } });
        await expect(store.put('k', [Buffer.from('late')])).rejects.toMatchObject({ code: 'MR_STORE_UNAVAILABLE' });
        sim.calm();
        await store.put('k', [Buffer.from('meanwhile')]);
        expect((await store.get('k'))?.toString()).toBe('meanwhile');
        await sim.sleep(50);
        expect((await store.get('k'))?.toString()).toBe('late');
      },
    });
  });

  it('a late putIfAbsent does not replace what is there', async () => {
    await simulate({
      seed: 1,
      world: async (sim) => {
        const store = new SimObjectStore(sim, { faults: { timeout: 1, never: 0, timeoutMs: 100, lateMs: [50, 50] } });
        const body = Buffer.from('late');
        await expect(store.putIfAbsent('k', [body])).rejects.toMatchObject({ code: 'MR_STORE_UNAVAILABLE' });
        body.fill(0);
        await expect(store.putIfAbsent('other', [body])).rejects.toMatchObject({ code: 'MR_STORE_UNAVAILABLE' });
        sim.calm();
        expect(await store.putIfAbsent('other', [Buffer.from('mine')])).toBe(true);
        await sim.sleep(100);
        expect((await store.get('other'))?.toString()).toBe('mine');
        // What the caller did with its buffer afterwards is not in it.
        expect((await store.get('k'))?.toString()).toBe('late');
      },
    });
  });

  it('a read can fail in the middle of an object', async () => {
    const objects = new MemoryStore();
    await objects.put('k', [Buffer.alloc(1_000_000)]);
    const got = new Set<number>();
    for (let seed = 1; seed <= 50; seed++) {
      const store = new SimObjectStore(new Simulation(seed), { objects, faults: { before: 0.1 } });
      let bytes = 0;
      try {
        for await (const chunk of (await store.read('k')) ?? []) bytes += chunk.length;
      } catch (error) {
        expect(error).toMatchObject({ code: 'MR_STORE_FAILED' });
      }
      got.add(bytes);
    }
    expect(got).toContain(1_000_000);
    expect(got.size).toBeGreaterThan(5);
  });

  it('of two calls at once either may happen first', async () => {
    const winners = new Set<string>();
    for (let seed = 1; seed <= 20; seed++) {
      await simulate({
        seed,
        world: async (sim) => {
          const store = new SimObjectStore(sim, { latencyMs: [1, 20] });
          await Promise.all(['a', 'b'].map((who) => store.put('k', [Buffer.from(who)])));
          winners.add(String(await store.get('k')));
        },
      });
    }
    expect([...winners].sort()).toEqual(['a', 'b']);
  });
});
