import { describe, expect, it } from '@jest/globals';
import { interval } from 'rxjs';
import { MemoryStore } from '../../../../lib/stores/index.ts';
import { SimDisk, type SimNode, SimObjectStore, type Simulation, simulate } from '../../../../lib/testing/index.ts';

/** Runs a world with one node and gives what was told. */
async function told(world: (sim: Simulation, node: SimNode, tell: (what: string) => void) => Promise<void>, seed = 1): Promise<string[]> {
  const lines: string[] = [];
  await simulate({ seed, world: (sim) => world(sim, sim.node('a'), (what) => lines.push(`${sim.clock.now()} ${what}`)) });
  return lines;
}

describe('SimNode', () => {
  it('abandons its program at a crash: no timer fires, no answer comes, no call has an effect', async () => {
    const objects = new MemoryStore();
    const lines = await told(async (sim, node, tell) => {
      const store = new SimObjectStore(sim, { objects, latencyMs: [10, 10] });
      node.run(async () => {
        const { clock } = node;
        const port = node.port(store);
        const life = node.generation;
        interval(4, clock.scheduler).subscribe(() => tell(`${life} ticks`));
        await clock.sleep(10);
        tell(`${life} puts`);
        await port.put(`${life}`, []);
        tell(`${life} has put`);
      });
      await sim.sleep(11);
      node.crash();
      expect(node.isUp).toBe(false);
      await sim.sleep(100);
      node.restart();
      expect([node.isUp, node.generation]).toEqual([true, 2]);
      await sim.sleep(21);
      node.kill();
      await sim.sleep(100);
    });
    expect(lines).toEqual([
      '4 1 ticks',
      '8 1 ticks',
      '10 1 puts',
      '115 2 ticks',
      '119 2 ticks',
      '121 2 puts',
      '123 2 ticks',
      '127 2 ticks',
      '131 2 has put',
      '131 2 ticks',
    ]);
    // What was sent before the crash is not taken back.
    expect(await objects.exists('1')).toBe(true);
  });

  it('what an abandoned program still does in its last turn has no effect', async () => {
    const objects = new MemoryStore();
    await told(async (sim, node) => {
      const store = node.port(new SimObjectStore(sim, { objects }));
      node.run(async () => {
        const { clock } = node;
        node.crash();
        const late = node.guard(() => sim.fail('no event', 'it came'));
        late();
        clock.after(1, () => sim.fail('no timer', 'it fired'));
        await store.put('x', []);
        sim.fail('no answer', 'it came');
      });
      await sim.sleep(100);
    });
    expect(await objects.exists('x')).toBe(false);
  });

  it('a paused node keeps its timers and answers, in order, until it goes on', async () => {
    const lines = await told(async (sim, node, tell) => {
      const store = new SimObjectStore(sim, { latencyMs: [3, 3] });
      node.run(async () => {
        const { clock } = node;
        const port = node.port(store);
        const cancel = clock.after(4, () => tell('cancelled'));
        clock.after(2, () => tell('timer'));
        clock.after(6, () => tell('later timer'));
        clock.after(40, () => tell('timer behind the pause'));
        clock.after(2, cancel);
        await port.put('x', []);
        tell('answer');
        await port.put('y', []);
        tell('second answer');
      });
      await sim.sleep(1);
      node.pause(20);
      await sim.sleep(50);
    });
    expect(lines).toEqual(['21 timer', '21 answer', '21 later timer', '24 second answer', '40 timer behind the pause']);
  });

  it('pauses add up to the longest, and calm ends them', async () => {
    const lines = await told(async (sim, node, tell) => {
      node.clock.after(5, () => tell('timer'));
      node.pause(10);
      node.pause(100);
      await sim.sleep(50);
      sim.calm();
      await sim.sleep(100);
    });
    expect(lines).toEqual(['50 timer']);
  });

  it('has a clock of its own, wrong by its skew', async () => {
    await told(async (sim, node) => {
      const other = sim.node('b', { skewMs: -500 });
      await sim.sleep(1000);
      expect([node.clock.now(), other.clock.now(), other.clock.scheduler.now()]).toEqual([1000, 500, 500]);
      other.skewMs = 250;
      expect(other.clock.now()).toBe(1250);
    });
  });

  it('a busy event loop lets everything come later, in order', async () => {
    const due = Array.from({ length: 50 }, (_, i) => i);
    let lateMs = 0;
    const order: number[] = [];
    await simulate({
      seed: 5,
      world: async (sim) => {
        const node = sim.node('a', { faults: { stall: 0.2, stallMs: [5, 10] } });
        for (const ms of due) {
          node.clock.after(ms, () => {
            lateMs = Math.max(lateMs, sim.clock.now() - ms);
            order.push(ms);
          });
        }
        await sim.sleep(500);
      },
    });
    expect(order).toEqual(due);
    expect(lateMs).toBeGreaterThan(5);
  });

  it('goes down at the call that is named, before its effect or after', async () => {
    const seen: string[] = [];
    for (const when of ['before', 'after'] as const) {
      for (const at of [1, 2, 3]) {
        const objects = new MemoryStore();
        await simulate({
          seed: 1,
          world: async (sim) => {
            const node = sim.node('a');
            node.crashAtCall(at, when);
            node.run(async () => {
              const store = node.port(new SimObjectStore(sim, { objects }));
              for (const key of ['x', 'y']) await store.put(key, []);
            });
            await sim.sleep(1);
            const keys: string[] = [];
            for await (const { key } of objects.list('')) keys.push(key);
            seen.push(`${when} ${at}: ${keys.join(' ')}${node.isUp ? ', up' : ''}`);
          },
        });
      }
    }
    expect(seen).toEqual(['before 1: ', 'before 2: x', 'before 3: x y, up', 'after 1: x', 'after 2: x y', 'after 3: x y, up']);
  });

  it('goes down behind the very call that is named, whichever answers are on their way', async () => {
    const objects = new MemoryStore();
    await simulate({
      seed: 1,
      world: async (sim) => {
        const node = sim.node('a');
        node.crashAtCall(2, 'after');
        node.run(async ({ port }) => {
          const slow = port(new SimObjectStore(sim, { objects, latencyMs: [20, 20] }));
          const fast = port(new SimObjectStore(sim, { objects, latencyMs: [5, 5] }));
          await Promise.all([fast.put('first', []), slow.put('second', [])]);
        });
        await sim.sleep(10);
        expect([node.isUp, await objects.exists('first')]).toEqual([true, true]);
        await sim.sleep(20);
        expect([node.isUp, await objects.exists('second')]).toEqual([false, true]);
      },
    });
  });

  it.each([
    [false, 'the first answer from that call on', ['down']],
    [true, 'the answer of that call, though a later one is answered before it', ['second', 'down']],
  ])('goes down, exactly or not (%s), at %s', async (isExact, _, expected) => {
    const objects = new MemoryStore();
    await simulate({
      seed: 1,
      world: async (sim) => {
        const node = sim.node('a');
        const answered: string[] = [];
        const [slow, fast] = [20, 5].map((ms) => new SimObjectStore(sim, { objects, latencyMs: [ms, ms] }));
        node.crashAtCall(1, 'after', 'crash', isExact);
        node.attach({ crash: () => answered.push('down'), kill: () => {} });
        node.run(async ({ port }) => {
          const put = (store: SimObjectStore, key: string) =>
            port(store)
              .put(key, [])
              .then(() => answered.push(key));
          await Promise.all([put(slow!, 'first'), put(fast!, 'second')]);
        });
        await sim.sleep(30);
        expect(answered).toEqual(expected);
        expect(node.isUp).toBe(false);
      },
    });
  });

  it('a program that was abandoned gets nothing of the next start, even when it goes on behind it', async () => {
    const lines = await told(async (sim, node, tell) => {
      const store = new SimObjectStore(sim);
      node.run(async (process) => {
        const { generation } = process;
        // Not through its clock, as it ought to be: it goes on behind its own end.
        await sim.sleep(20);
        if (process.isUp) tell(`${generation} is up`);
        process.clock.after(1, () => tell(`${generation} wakes`));
        await process.port(store).put(`${generation}`, []);
        tell(`${generation} has put`);
      });
      await sim.sleep(10);
      node.crash();
      await sim.sleep(5);
      node.restart();
      await sim.sleep(100);
      expect(await store.objects.exists('1')).toBe(false);
    });
    expect(lines).toEqual(['35 2 is up', '35 2 has put', '36 2 wakes']);
  });

  it('a port is what it stands for to whoever asks, and does not change it', async () => {
    await told(async (sim, node) => {
      const store = new SimObjectStore(sim);
      const port = node.port(store);
      expect(port).toBeInstanceOf(SimObjectStore);
      expect(['uri' in port, 'put' in port, 'nothing' in port]).toEqual([true, true, false]);
      expect(Object.getPrototypeOf(port)).toBe(SimObjectStore.prototype);
    });
  });

  it('an iteration through a port stops at a crash, and answers of open files do too', async () => {
    const lines = await told(async (sim, node, tell) => {
      const objects = new SimObjectStore(sim);
      for (const key of ['a', 'b', 'c']) await objects.put(key, []);
      const disk = new SimDisk(sim, { node, latencyMs: [1, 1] });
      node.run(async () => {
        const { clock } = node;
        const store = node.port(objects);
        const file = await node.port(disk).open('/a', 'w');
        clock.after(2, async () => {
          await file.write([Buffer.from('x')]);
          await file.sync();
          tell('synced');
        });
        for await (const { key } of store.list('')) {
          tell(key);
          await clock.sleep(1);
        }
      });
      await sim.sleep(3);
      node.crash();
      await sim.sleep(100);
    });
    expect(lines).toEqual(['1 a', '2 b']);
  });

  it('starts again by itself, again and again, until it is calm', async () => {
    const { trace } = await simulate({
      seed: 1,
      world: async (sim) => {
        let starts = 0;
        const node = sim.node('a', {
          faults: { crashEveryMs: 100, killEveryMs: 100, pauseEveryMs: 50, pauseMs: [1, 10], downMs: [0, 20], skewMs: 50 },
        });
        node.run(() => {
          starts++;
        });
        await sim.sleep(1000);
        expect(starts).toBeGreaterThan(5);
        sim.calm();
        await sim.sleep(1000);
        expect(node.isUp).toBe(true);
      },
    });
    const calmMs = trace.lines().find(({ what }) => what === 'calm')?.ms ?? 0;
    expect(trace.lines().filter(({ ms, isFault }) => isFault && ms > calmMs)).toEqual([]);
  });

  it('fails the simulation with the error of its program, unless somebody wants to know', async () => {
    const world = (onExit?: (error: unknown) => void) => async (sim: Simulation) => {
      sim.node('a').run(async () => {
        await sim.sleep(5);
        throw new Error('out of luck');
      }, onExit);
      await sim.sleep(10);
    };
    await expect(simulate({ seed: 1, world: world() })).rejects.toMatchObject({
      details: { invariant: 'the program of a does not fail', reason: 'out of luck', virtualMs: 5 },
    });
    const exits: unknown[] = [];
    await simulate({ seed: 1, world: world((error) => exits.push(error)) });
    expect(exits).toEqual([expect.objectContaining({ message: 'out of luck' })]);
  });
});
