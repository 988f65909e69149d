import { describe, expect, it } from '@jest/globals';
import { type LinkFaults, SimNetwork, type Simulation, simulate } from '../../../../lib/testing/index.ts';

/** What b hears of a's numbers 1 to `count`, one each ms. */
async function heard(seed: number, faults: LinkFaults, count: number, meanwhile?: (sim: Simulation, network: SimNetwork<number>) => void) {
  const numbers: number[] = [];
  await simulate({
    seed,
    world: async (sim) => {
      const network = new SimNetwork<number>(sim, { latencyMs: [1, 50], faults, show: String });
      const [a, b] = [sim.node('a'), sim.node('b')];
      b.run(() => network.endpoint(b).listen((number, from) => numbers.push(from === 'a' ? number : -1)));
      const sender = network.endpoint(a);
      meanwhile?.(sim, network);
      for (let number = 1; number <= count; number++) {
        sender.send('b', number);
        await sim.sleep(1);
      }
      await sim.sleep(20_000);
    },
  });
  return numbers;
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

describe('SimNetwork', () => {
  it('keeps the order of a pair, whatever each message takes', async () => {
    for (let seed = 1; seed <= 10; seed++) expect(await heard(seed, { delay: 0.1 }, 100)).toEqual(upTo(100));
  });

  it('loses some messages, and doubles some, in order', async () => {
    const lost = await heard(1, { loss: 0.2 }, 100);
    expect(lost.length).toBeGreaterThan(50);
    expect(lost.length).toBeLessThan(100);
    expect(lost).toEqual([...new Set(lost)].sort((x, y) => x - y));
    const doubled = await heard(1, { duplicate: 0.2 }, 100);
    expect(doubled.length).toBeGreaterThan(100);
    expect(doubled).toEqual([...doubled].sort((x, y) => x - y));
    expect([...new Set(doubled)]).toEqual(upTo(100));
  });

  it('loses everything between nodes that are parted, until they are not', async () => {
    const numbers = await heard(1, {}, 300, async (sim, network) => {
      await sim.sleep(100);
      network.partition('a', 'b', 100);
    });
    expect(numbers[0]).toBe(1);
    expect(numbers.at(-1)).toBe(300);
    for (const number of upTo(50)) expect(numbers).not.toContain(120 + number);
  });

  it('isolates a node from those that only send to it too, until it is healed', async () => {
    const numbers = await heard(1, {}, 300, async (sim, network) => {
      await sim.sleep(100);
      network.isolate('b');
      await sim.sleep(100);
      network.heal();
    });
    expect(numbers[0]).toBe(1);
    expect(numbers.at(-1)).toBe(300);
    for (const number of upTo(40)) expect(numbers).not.toContain(105 + number);
  });

  it('parts nodes by chance, and calm heals', async () => {
    const numbers = await heard(1, { partition: 0.05, partitionMs: [1e6, 1e6] }, 300, async (sim) => {
      await sim.sleep(200);
      sim.calm();
    });
    expect(numbers.slice(-100)).toEqual(upTo(300).slice(-100));
    expect(numbers.length).toBeLessThan(250);
  });

  it('a process that is gone neither sends nor hears; the next one hears what comes then', async () => {
    await simulate({
      seed: 1,
      world: async (sim) => {
        const network = new SimNetwork<string>(sim);
        const [a, b] = [sim.node('a'), sim.node('b')];
        const heardBy: string[] = [];
        b.run(() => {
          const life = b.generation;
          network.endpoint(b).listen((message) => heardBy.push(`${life} ${message}`));
        });
        const sender = network.endpoint(a);
        sender.send('b', 'one');
        await sim.sleep(10);
        b.crash();
        sender.send('b', 'into nothing');
        await sim.sleep(10);
        b.restart();
        sender.send('b', 'two');
        await sim.sleep(10);
        a.crash();
        sender.send('b', 'from a ghost');
        a.restart();
        sender.send('b', 'from a ghost, too');
        await sim.sleep(10);
        expect(heardBy).toEqual(['1 one', '2 two']);
      },
    });
  });
});
