import { setTimeout as sleepForReal } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { throwError } from 'rxjs';
import { isMillraceError, type MillraceError } from '../../../../lib/errors.ts';
import { SimNetwork, SimObjectStore, type Simulation, simulate } from '../../../../lib/testing/index.ts';

/** A world in which much happens: two nodes that count in a store and tell each other, under faults. */
async function busy(sim: Simulation): Promise<void> {
  const store = new SimObjectStore(sim, { latencyMs: [1, 30], faults: { before: 0.05, after: 0.05, throttled: 0.02, timeout: 0.02 } });
  const network = new SimNetwork<number>(sim, { faults: { loss: 0.1, duplicate: 0.1, delay: 0.1, partition: 0.01 } });
  for (const name of ['a', 'b']) {
    const node = sim.node(name, { faults: { crashEveryMs: 700, pauseEveryMs: 900, stall: 0.05, skewMs: 100 } });
    node.run(async () => {
      const { clock } = node;
      const port = node.port(store);
      const endpoint = network.endpoint(node);
      endpoint.listen((number) => sim.note(name, `hears ${number}`));
      for (let number = 0; ; number++) {
        await port.put(`${name}/${number}`, [Buffer.alloc(sim.between(0, 9))]).catch(() => {});
        endpoint.send(name === 'a' ? 'b' : 'a', number);
        await clock.sleep(sim.between(0, 20));
      }
    });
  }
  await sim.sleep(5000);
}

const failureOf = async (world: (sim: Simulation) => Promise<void> | void, limits = {}): Promise<MillraceError> => {
  try {
    await simulate({ seed: 1, world, ...limits });
  } catch (error) {
    if (isMillraceError(error, 'MR_SIMULATION_FAILED')) return error;
    throw error;
  }
  throw new Error('it passed');
};

describe('simulate', () => {
  it('does the same for the same seed, step by step, and something else for another', async () => {
    const run = (seed: number) => simulate({ seed, world: busy });
    const [first, second, other] = [await run(1), await run(1), await run(2)];
    expect(second).toEqual(first);
    expect(second.trace.lines()).toEqual(first.trace.lines());
    expect(first.trace.count).toBeGreaterThan(200);
    expect(other.hash).not.toBe(first.hash);
  });

  it('does the same whatever runs beside it', async () => {
    const alone = await simulate({ seed: 3, world: busy });
    const together = await Promise.all([1, 2, 3, 4].map((seed) => simulate({ seed, world: busy })));
    expect(together[2]?.hash).toBe(alone.hash);
  });

  it('looks at the invariants after each step, and says which one broke, when, and how to replay it', async () => {
    let steps = 0;
    const error = await failureOf(
      async (sim) => {
        sim.invariant('few steps', () => steps <= 3 || `there were ${steps}`);
        for (;;) {
          await sim.sleep(10);
          steps++;
          sim.note('world', `step ${steps}`);
        }
      },
      { replay: 'npm run simulate -- --scenario x --seed 1' },
    );
    expect(error.details).toMatchObject({ seed: 1, virtualMs: 40, invariant: 'few steps', reason: 'there were 4', steps: 4 });
    expect(error.message).toContain('seed 1: "few steps" does not hold at 40 ms, step 4: there were 4');
    expect(error.message).toContain('Replay it with `npm run simulate -- --scenario x --seed 1`.');
  });

  it.each<[string, (sim: Simulation) => Promise<void> | void, object]>([
    ['false', (sim) => void sim.invariant('x', () => false), { invariant: 'x', reason: 'it is false' }],
    ['a sentence', (sim) => void sim.invariant('x', () => 'no'), { invariant: 'x', reason: 'no' }],
    [
      'a promise',
      (sim) => void sim.invariant('x', (async () => true) as unknown as () => boolean),
      { invariant: 'x', reason: 'it answers later: an invariant answers at once' },
    ],
    [
      'an error',
      (sim) =>
        sim.invariant('x', () => {
          throw new Error('thrown');
        }),
      { invariant: 'x', reason: 'thrown' },
    ],
    ['sim.fail', (sim) => sim.fail('x', 'told'), { invariant: 'x', reason: 'told' }],
    ['an error of the world', () => Promise.reject(new Error('broken')), { invariant: 'the world does not fail', reason: 'broken' }],
    [
      'an error in a timer',
      async (sim) => {
        sim.clock.after(1, () => {
          throw new Error('in a timer');
        });
        await sim.sleep(2);
      },
      { invariant: 'nothing throws in a timer', reason: 'in a timer' },
    ],
    [
      'a real timer',
      async (sim) => {
        await (async () => void setTimeout(() => {}, 1000))().catch(() => {});
        await sim.sleep(2);
      },
      { invariant: 'nothing leaves the simulation', reason: expect.stringContaining('setTimeout') },
    ],
    [
      'an error that no subscriber handles',
      async (sim) => {
        throwError(() => new Error('unheard')).subscribe();
        await sim.sleep(2);
      },
      { invariant: 'nothing leaves the simulation', reason: 'unheard' },
    ],
    [
      'immediates without end, in which no time passes',
      () => {
        const again = () => void setImmediate(again);
        again();
      },
      { invariant: 'the world goes on', reason: expect.stringContaining('setImmediate') },
    ],
    [
      'a predicate that throws',
      async (sim) => {
        let isLate = false;
        sim.clock.after(10, () => {
          isLate = true;
        });
        await sim.eventually(
          'y',
          () => {
            if (isLate) throw new Error('in a predicate');
            return false;
          },
          50,
        );
      },
      { invariant: 'y', reason: 'in a predicate', virtualMs: 10 },
    ],
    ['a world that waits for nothing on the clock', () => new Promise<void>(() => {}), { invariant: 'the world goes on' }],
    ['what does not come in time', (sim) => sim.eventually('y', () => false, 50), { invariant: 'y', virtualMs: 50 }],
  ])('fails for %s', async (_, world, details) => {
    expect((await failureOf(world)).details).toMatchObject(details);
  });

  it('names what is waited for outside, which nobody can refuse', async () => {
    let sleeping = Promise.resolve();
    const error = await failureOf(() => {
      sleeping = sleepForReal(30);
      return sleeping;
    });
    expect(error.details).toMatchObject({ invariant: 'the world goes on', reason: expect.stringMatching(/outside of it wait .*Timeout/) });
    await sleeping;
  });

  it.each([
    ['steps', { maxSteps: 10 }, { steps: 10, reason: 'it has not, in 10 steps' }],
    ['virtual time', { maxMs: 45 }, { virtualMs: 40, reason: 'it has not, in 45 ms' }],
  ])('ends a world that goes on for ever, by %s', async (_, limits, details) => {
    const error = await failureOf(async (sim) => {
      for (;;) await sim.sleep(10);
    }, limits);
    expect(error.details).toMatchObject({ invariant: 'the world ends', ...details });
  });

  it('eventually goes on in the step in which it has come', async () => {
    await simulate({
      seed: 1,
      world: async (sim) => {
        let isThere = false;
        sim.clock.after(30, () => {
          isThere = true;
        });
        await sim.eventually('it', () => isThere, 1000);
        expect(sim.clock.now()).toBe(30);
      },
    });
  });

  it('runs promises, ticks and immediates of a step before the next', async () => {
    const order: string[] = [];
    await simulate({
      seed: 1,
      world: async (sim) => {
        sim.clock.after(1, () => {
          setImmediate(() => {
            order.push('immediate');
            setImmediate((what: string) => order.push(what), 'another');
          });
          clearImmediate(setImmediate(() => order.push('cleared')));
          process.nextTick(() => order.push('tick'));
          Promise.resolve().then(async () => {
            for (let i = 0; i < 100; i++) await null;
            order.push('promise');
          });
        });
        sim.clock.after(2, () => order.push('next step'));
        await sim.sleep(3);
      },
    });
    expect(order).toEqual(['tick', 'promise', 'immediate', 'another', 'next step']);
    await new Promise((resolve) => setImmediate(resolve));
  });

  it('has another hash when steps come at other times, though nothing was told', async () => {
    const hash = async (ms: number) => (await simulate({ seed: 1, world: (sim) => sim.sleep(ms) })).hash;
    expect(await hash(5)).toBe(await hash(5));
    expect(await hash(5)).not.toBe(await hash(6));
  });

  it('has another hash when lots were drawn that nothing shows', async () => {
    const hash = async (draws: number) =>
      (await simulate({ seed: 1, world: (sim) => Array.from({ length: draws }, () => sim.random()) && undefined })).hash;
    expect(await hash(3)).not.toBe(await hash(4));
  });

  it('what was left to do by a world that is over is not done in the next', async () => {
    const order: string[] = [];
    await failureOf((sim) => {
      const again = () => void setImmediate(again);
      again();
      setImmediate(() => order.push('first'));
      setImmediate(() => setImmediate(() => setImmediate(() => order.push('behind'))));
      sim.fail('x', 'at once');
    });
    order.length = 0;
    await simulate({ seed: 1, world: (sim) => sim.sleep(1) });
    expect(order).toEqual([]);
  });

  it('faults end with calm, and draw no lot when they are off', async () => {
    await simulate({
      seed: 1,
      world: (sim) => {
        expect(sim.fault(1)).toBe(true);
        sim.calm();
        expect([sim.fault(1), sim.fault(undefined), sim.chance(1), sim.chance(0), sim.isCalm]).toEqual([false, false, true, false, true]);
      },
    });
  });

  it('draws from all of a list and of a range', async () => {
    await simulate({
      seed: 1,
      world: (sim) => {
        const drawn = Array.from({ length: 200 }, () => sim.between(-1, 2));
        expect(new Set(drawn)).toEqual(new Set([-1, 0, 1, 2]));
        expect(new Set(Array.from({ length: 200 }, () => sim.pick(['a', 'b', 'c'])))).toEqual(new Set(['a', 'b', 'c']));
        expect(sim.shuffled([1, 2, 3, 4, 5]).sort()).toEqual([1, 2, 3, 4, 5]);
      },
    });
  });
});
