import { describe, expect, it } from '@jest/globals';
import { FlushQueue } from '../../../../pipelines/cloud-storage-sink/files/flush-queue.ts';

/** Jobs that end when they are told to. */
function world(parallel: number) {
  const log: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  const queue = new FlushQueue(parallel, (error) => log.push(`error ${(error as Error).message}`));
  const job = (name: string) => () =>
    new Promise<void>((resolve, reject) => {
      log.push(name);
      ends.set(name, (error) => (error === undefined ? resolve() : reject(error)));
    });
  const end = async (name: string, error?: Error) => {
    ends.get(name)!(error);
    await new Promise(setImmediate);
  };
  return { log, queue, job, end };
}

describe('FlushQueue', () => {
  it('runs the jobs of a lane one after another, because files are numbered in order', async () => {
    const { log, queue, job, end } = world(4);
    queue.push('a', job('a1'));
    queue.push('a', job('a2'));
    expect(log).toEqual(['a1']);
    await end('a1');
    expect(log).toEqual(['a1', 'a2']);
  });

  it('starts the next job of a lane beside one that has handed on, if it may, and never a third', async () => {
    const { log, queue, job, end } = world(4);
    const handOns: (() => void)[] = [];
    const handing = (name: string) => (handOn: () => void) => {
      handOns.push(handOn);
      return job(name)();
    };
    for (const name of ['a1', 'a2', 'a3']) queue.pushOverlapping('a', handing(name));
    queue.push('a', job('a4'));
    expect(log).toEqual(['a1']);
    handOns[0]!();
    handOns[0]!();
    expect(log).toEqual(['a1', 'a2']);
    handOns[1]!();
    expect(log).toEqual(['a1', 'a2']);
    await end('a1');
    expect(log).toEqual(['a1', 'a2', 'a3']);
    handOns[2]!();
    await end('a2');
    expect(log).toEqual(['a1', 'a2', 'a3']);
    await end('a3');
    expect(log).toEqual(['a1', 'a2', 'a3', 'a4']);
  });

  it('leaves the last place to a lane that has none, though another one has handed on', async () => {
    const { log, queue, job, end } = world(2);
    queue.pushOverlapping('slow', (handOn) => {
      handOn();
      return job('slow 1')();
    });
    queue.pushOverlapping('slow', job('slow 2'));
    queue.push('b', job('b'));
    expect(log).toEqual(['slow 1', 'b']);
    await end('b');
    expect(log).toEqual(['slow 1', 'b']);
    await end('slow 1');
    expect(log).toEqual(['slow 1', 'b', 'slow 2']);
    await end('slow 2');
    await queue.idle();
  });

  it('starts nothing beside a job that has not handed on, and nothing more when a job fails that has', async () => {
    const { log, queue, job, end } = world(4);
    queue.pushOverlapping('a', (handOn) => {
      handOn();
      return job('a1')();
    });
    queue.pushOverlapping('a', job('a2'));
    queue.pushOverlapping('a', job('a3'));
    let isIdle = false;
    await end('a1', new Error('disk full'));
    queue.idle().then(() => {
      isIdle = true;
    });
    expect([log, isIdle]).toEqual([['a1', 'a2', 'error disk full'], false]);
    await end('a2');
    expect([log, isIdle]).toEqual([['a1', 'a2', 'error disk full'], true]);
  });

  it('lets a slow lane hold up nobody else, because a slow table must not stall the others', async () => {
    const { log, queue, job, end } = world(2);
    queue.push('slow', job('slow'));
    for (const name of ['b', 'c', 'd']) queue.push(name, job(name));
    await end('b');
    await end('c');
    expect(log).toEqual(['slow', 'b', 'c', 'd']);
  });

  it('runs at most as many at once as it is told', async () => {
    const { log, queue, job, end } = world(2);
    for (const name of ['a', 'b', 'c']) queue.push(name, job(name));
    expect(log).toEqual(['a', 'b']);
    await end('a');
    expect(log).toEqual(['a', 'b', 'c']);
  });

  it('runs a job behind all when everything before it is done, and does not wait for what came later', async () => {
    const { log, queue, job, end } = world(8);
    queue.push('a', job('a1'));
    queue.push('b', job('b1'));
    queue.pushBehindAll(async () => void log.push('behind all'));
    queue.push('c', job('c1'));
    await end('a1');
    expect(log).toEqual(['a1', 'b1', 'c1']);
    await end('b1');
    expect(log).toEqual(['a1', 'b1', 'c1', 'behind all']);
  });

  it('runs a job behind all at once when there is nothing to wait for', () => {
    const { log, queue } = world(1);
    queue.pushBehindAll(async () => void log.push('behind all'));
    expect(log).toEqual(['behind all']);
  });

  it('starts nothing after the first error and reports that one alone', async () => {
    const { log, queue, job, end } = world(2);
    for (const name of ['a', 'b', 'c']) queue.push(name, job(name));
    await end('a', new Error('first'));
    await end('b', new Error('second'));
    queue.push('d', job('d'));
    expect(log).toEqual(['a', 'b', 'error first']);
  });

  it('is idle when everything pushed is done, and after a stop when what ran has ended', async () => {
    const { log, queue, job, end } = world(1);
    queue.push('a', job('a'));
    queue.push('b', job('b'));
    const idle = queue.idle().then(() => log.push('idle'));
    await end('a');
    expect(log).toEqual(['a', 'b']);
    queue.stop();
    await end('b');
    await idle;
    expect(log).toEqual(['a', 'b', 'idle']);
  });

  it('forgets lanes that are done, so that thousands of tables leave nothing behind', async () => {
    const { queue, job, end } = world(1);
    queue.push('a', job('a'));
    await end('a');
    await queue.idle();
    const { log } = world(1);
    queue.pushBehindAll(async () => void log.push('at once'));
    expect(log).toEqual(['at once']);
  });
});
