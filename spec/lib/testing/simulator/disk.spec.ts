import { describe, expect, it } from '@jest/globals';
import { fileCheckpoint } from '../../../../lib/runtime/index.ts';
import { makeFolderDurably, replaceDurably, writeDurably } from '../../../../lib/stores/durable-file.ts';
import { describeCheckpointStore } from '../../../../lib/testing/checkpoint-store-suite.ts';
import { describeDisk } from '../../../../lib/testing/disk-suite.ts';
import { type DiskFaults, SimDisk, type SimDiskOptions, Simulation, simulate } from '../../../../lib/testing/index.ts';

describeDisk('simulated', async () => {
  const disk = new SimDisk(new Simulation(1));
  await makeFolderDurably('/root', disk);
  return { disk, root: '/root', crash: () => disk.crash(), close: async () => {} };
});

describeCheckpointStore('file on a simulated disk', async () => {
  const disk = new SimDisk(new Simulation(1));
  const open = () => fileCheckpoint('/state', { disk });
  return { store: open(), again: async () => open(), close: async () => {} };
});

const bytes = (text: string) => Buffer.from(text);

/** What is found at `/f/a` after a crash, over many seeds. */
async function outcomes(write: (disk: SimDisk) => Promise<void>, faults: DiskFaults = {}): Promise<string[]> {
  const found = new Set<string>();
  for (let seed = 1; seed <= 100; seed++) {
    const disk = new SimDisk(new Simulation(seed), { faults });
    await makeFolderDurably('/f', disk);
    await write(disk).catch(() => {});
    disk.crash();
    const content = await disk.readFile('/f/a').catch((error: { code: string }) => error.code);
    found.add(typeof content === 'string' ? content : content.toString().replaceAll('\0', '_'));
  }
  return [...found].sort();
}

describe('SimDisk at a crash', () => {
  it('loses writes that were not synced, the last ones first', async () => {
    const found = await outcomes(
      async (disk) => {
        await writeDurably('/f/a', [bytes('A')], 'w', disk);
        await disk.syncFolder('/f');
        const file = await disk.open('/f/a', 'a');
        await file.write([bytes('B')]);
        await file.write([bytes('C')]);
      },
      { torn: 0 },
    );
    expect(found).toEqual(['A', 'AB', 'ABC']);
  });

  it('tears the first write that is lost: cut, or with zeros for its rest', async () => {
    const found = await outcomes(async (disk) => {
      const file = await disk.open('/f/a', 'w');
      await disk.syncFolder('/f');
      await file.write([bytes('xyz')]);
    });
    expect(found).toEqual(['', 'x', 'x__', 'xy', 'xy_', 'xyz']);
  });

  it('loses the name of a synced file whose folder was not synced', async () => {
    expect(await outcomes((disk) => writeDurably('/f/a', [bytes('A')], 'w', disk))).toEqual(['A', 'ENOENT']);
  });

  it('brings a removed file back unless its folder was synced', async () => {
    const made = async (disk: SimDisk) => {
      await writeDurably('/f/a', [bytes('A')], 'w', disk);
      await disk.syncFolder('/f');
      await disk.remove('/f/a');
    };
    expect(await outcomes(made)).toEqual(['A', 'ENOENT']);
    const synced = async (disk: SimDisk) => {
      await made(disk);
      await disk.syncFolder('/f');
    };
    expect(await outcomes(synced)).toEqual(['ENOENT']);
  });

  it('may lose the old content of a file that was emptied in place, and leave nothing of the new', async () => {
    const found = await outcomes(
      async (disk) => {
        await writeDurably('/f/a', [bytes('old')], 'w', disk);
        await disk.syncFolder('/f');
        const file = await disk.open('/f/a', 'w');
        await file.write([bytes('new')]);
      },
      { torn: 0 },
    );
    expect(found).toEqual(['', 'new', 'old']);
  });

  it('I8: finds the old content or the new of a file that was replaced durably', async () => {
    const found = await outcomes(async (disk) => {
      await replaceDurably('/f/a', '/f/a.tmp', [bytes('old')], disk);
      // A crash before the last step of the second.
      await writeDurably('/f/a.tmp', [bytes('new')], 'w', disk);
      await disk.rename('/f/a.tmp', '/f/a');
    });
    expect(found).toEqual(['new', 'old']);
  });

  it('never makes durable what a failed sync was asked to, though a later one succeeds', async () => {
    const sim = new Simulation(1);
    const disk = new SimDisk(sim, { faults: { syncFails: 1 } });
    const file = await disk.open('/a', 'w');
    await file.write([bytes('lost')]);
    await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' });
    sim.calm();
    await file.write([bytes(' and kept')]);
    await file.sync();
    await disk.syncFolder('/');
    expect((await disk.readFile('/a')).toString()).toBe('lost and kept');
    disk.crash();
    expect((await disk.readFile('/a')).toString()).toBe('\0\0\0\0 and kept');
  });
});

describe('SimDisk: a write that does not come to its end', () => {
  const lengthsOf = async (options: SimDiskOptions, disturb: (sim: Simulation, disk: SimDisk) => void): Promise<Set<number>> => {
    const lengths = new Set<number>();
    for (let seed = 1; seed <= 300; seed++) {
      await simulate({
        seed,
        world: async (sim) => {
          const disk = new SimDisk(sim, options);
          const file = await disk.open('/x', 'a').catch(() => null);
          if (file === null) return;
          const writing = file.write([bytes('abcd')]).catch(() => {});
          disturb(sim, disk);
          await Promise.race([writing, sim.sleep(100)]);
          const content = await disk.readFile('/x').catch(() => bytes('abcd'));
          expect('abcd'.startsWith(content.toString())).toBe(true);
          lengths.add(content.length);
        },
      });
    }
    return lengths;
  };

  it('leaves a part where the process was killed in the middle of it', async () => {
    expect(await lengthsOf({ latencyMs: [5, 5] }, (_, disk) => disk.kill())).toEqual(new Set([0, 1, 2, 3, 4]));
  });

  it.each([{ full: 0.3 }, { fails: 0.3 }])('leaves a part where the disk failed in the middle of it: %j', async (faults) => {
    expect(await lengthsOf({ faults }, () => {})).toEqual(new Set([0, 1, 2, 3, 4]));
  });
});

describe('SimDisk and time', () => {
  it('dates files by the clock of its machine, which may be wrong', async () => {
    await simulate({
      seed: 1,
      world: async (sim) => {
        const disk = new SimDisk(sim, { node: sim.node('a', { skewMs: -5000 }) });
        await sim.sleep(6000);
        await (await disk.open('/x', 'w')).write([bytes('x')]);
        expect((await disk.stat('/x'))?.modifiedMs).toBe(1000);
      },
    });
  });
});

describe('SimDisk in use', () => {
  it('is full when its capacity is used up, with what fits written', async () => {
    const disk = new SimDisk(new Simulation(1), { capacityBytes: 5 });
    const file = await disk.open('/a', 'w');
    await file.write([bytes('abc')]);
    await expect(file.write([bytes('def')])).rejects.toMatchObject({
      code: 'ENOSPC',
      message: "ENOSPC: no space left on device, write '/a'",
    });
    expect((await disk.readFile('/a')).toString()).toBe('abcde');
    await disk.remove('/a');
    await writeDurably('/b', [bytes('12345')], 'w', disk);
    expect(disk.usedBytes).toBe(5);
  });

  it('is full for a while, then has room again', async () => {
    await simulate({
      seed: 3,
      world: async (sim) => {
        const disk = new SimDisk(sim, { faults: { full: 1, fullMs: [10, 20] } });
        await expect(disk.open('/a', 'w')).rejects.toMatchObject({ code: 'ENOSPC' });
        sim.calm();
        await writeDurably('/a', [bytes('x')], 'w', disk);
      },
    });
  });

  it('gives a byte back wrong, for this read alone: what is there stays as it is', async () => {
    const disk = new SimDisk(new Simulation(1), { faults: { corrupts: 0.5 } });
    const file = await disk.open('/a', 'w');
    await file.write([bytes('abc')]);
    const found = new Set<number>();
    for (let attempt = 0; attempt < 50; attempt++) {
      const read = await file.read(0, 3);
      found.add([...bytes('abc')].filter((byte, at) => read[at] !== byte).length);
    }
    expect([...found].sort()).toEqual([0, 1]);
    expect((await disk.readFile('/a')).toString()).toBe('abc');
  });

  it('a call that was under way when the power failed never answers, and has happened or not', async () => {
    const names = new Set<number>();
    for (let seed = 1; seed <= 20; seed++) {
      await simulate({
        seed,
        world: async (sim) => {
          const disk = new SimDisk(sim, { latencyMs: [10, 10] });
          disk.open('/a', 'w').then(() => sim.fail('no answer', 'one came'));
          await sim.sleep(5);
          disk.kill();
          await sim.sleep(100);
          names.add((await disk.list('/')).length);
        },
      });
    }
    expect([...names].sort()).toEqual([0, 1]);
  });

  it('removes a tree name by name: a crash may leave any part of it', async () => {
    const left = new Set<string>();
    for (let seed = 1; seed <= 100; seed++) {
      const disk = new SimDisk(new Simulation(seed));
      await makeFolderDurably('/f', disk);
      for (const name of ['/f/a', '/f/b']) await writeDurably(name, [bytes('x')], 'w', disk);
      await disk.syncFolder('/f');
      await disk.removeTree('/f');
      disk.crash();
      const names = (await disk.stat('/f')) === null ? 'no folder' : (await disk.list('/f')).map(({ name }) => name).join(' ');
      left.add(names);
    }
    expect([...left].sort()).toEqual(['', 'a b', 'b', 'no folder']);
  });
});

describe('makeFolderDurably', () => {
  it('makes durable what a killed process made and did not sync, at any of its calls', async () => {
    let kills = 0;
    for (let at = 1, isOver = false; !isOver; at++) {
      await simulate({
        seed: at,
        world: async (sim) => {
          const node = sim.node('a');
          const disk = new SimDisk(sim, { node });
          node.crashAtCall(at, 'after', 'kill');
          node.run(async () => {
            await makeFolderDurably('/a/b/c', node.port(disk));
            isOver = true;
          });
          await sim.sleep(1);
          if (!isOver) kills++;
          await makeFolderDurably('/a/b/c', disk);
          for (let i = 0; i < 10; i++) disk.crash();
          expect((await disk.stat('/a/b/c'))?.isFolder).toBe(true);
        },
      });
    }
    expect(kills).toBeGreaterThan(5);
  });
});

describe('fileCheckpoint on a disk that crashes', () => {
  it('never takes back what it has loaded: a killed save is made durable first', async () => {
    const seen = new Set<string>();
    for (let at = 1, isOver = false; !isOver; at++) {
      await simulate({
        seed: at,
        world: async (sim) => {
          const node = sim.node('a');
          const disk = new SimDisk(sim, { node });
          const load = async () => (await fileCheckpoint('/state', { disk }).load('p'))?.checkpointTs ?? null;
          node.crashAtCall(at, 'after', 'kill');
          node.run(async () => {
            const store = fileCheckpoint('/state', { disk: node.port(disk) });
            await store.save('p', before);
            await store.save('p', after);
            isOver = true;
          });
          await sim.sleep(1);
          node.kill();
          const loaded = await load();
          for (let i = 0; i < 10; i++) disk.crash();
          expect(await load()).toBe(loaded);
          seen.add(String(loaded));
        },
      });
    }
    expect([...seen].sort()).toEqual(['1', '2', 'null']);
  });

  const before = { checkpointTs: 1n, sourceState: null };
  const after = { checkpointTs: 2n, sourceState: { slot: 'orders' } };

  it('I8: a crash at any call of a save, before or after it, leaves the old checkpoint or the new, and no lock', async () => {
    const found = new Set<bigint | null | undefined>();
    let crashes = 0;
    for (const when of ['before', 'after'] as const) {
      for (let at = 1, isOver = false; !isOver; at++) {
        await simulate({
          seed: at,
          world: async (sim) => {
            const node = sim.node('a');
            const disk = new SimDisk(sim, { node });
            const first = fileCheckpoint('/state', { disk });
            await first.save('p', before);
            await first.close?.();
            node.crashAtCall(at, when);
            node.run(async () => {
              const store = fileCheckpoint('/state', { disk: node.port(disk) });
              await store.load('p');
              await store.save('p', after);
              isOver = true;
            });
            await sim.sleep(1);
            if (!isOver) crashes++;
            node.kill();
            found.add((await fileCheckpoint('/state', { disk }).load('p'))?.checkpointTs);
          },
        });
      }
    }
    expect(crashes).toBeGreaterThan(10);
    expect(found).toEqual(new Set([1n, 2n]));
  });
});
