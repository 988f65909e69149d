import { describe, expect, it } from '@jest/globals';
import type { Delivery } from '../../../lib/events/index.ts';
import { pump } from '../../../lib/flow/index.ts';
import { deliveryOf, notationOf } from '../../../lib/testing/index.ts';

/** Every promise that could settle has settled. */
const settled = () => new Promise(setImmediate);

/** Pumps deliveries of 100 bytes an event; what is pulled, emitted and ended is written down. */
function run(texts: readonly string[], maxBytesInFlight: number, onDelivery = (_: Delivery) => {}) {
  const log: string[] = [];
  const emitted: Delivery[] = [];
  async function* source() {
    try {
      for (const text of texts) {
        log.push(`pull ${text}`);
        yield deliveryOf(text);
      }
    } finally {
      log.push('returned');
    }
  }
  const subscription = pump(source(), { maxBytesInFlight }).subscribe({
    next: (delivery) => {
      log.push(notationOf(delivery));
      emitted.push(delivery);
      onDelivery(delivery);
    },
    error: (error) => log.push(`${error}`),
    complete: () => log.push('end'),
  });
  return { log, emitted, subscription };
}

/** architecture §2, the life of a delivery */
describe('pump', () => {
  it('pulls the next only while the bytes in flight allow, and goes on when a delivery is woken', async () => {
    const { log, emitted } = run(['a@1', 'a@2', 'a@3', 'a@4'], 200);
    await settled();
    expect(log).toEqual(['pull a@1', 'a@1', 'pull a@2', 'a@2']);
    emitted[1]!.ack.postEnqueue();
    await settled();
    expect(log.slice(4)).toEqual(['pull a@3', 'a@3']);
    for (const { ack } of emitted) ack.postEnqueue();
    await settled();
    expect(log.slice(6)).toEqual(['pull a@4', 'a@4', 'returned', 'end']);
  });

  it('emits a delivery larger than the bound, alone', async () => {
    const { log, emitted } = run(['a@1 a@2 a@3', 'a@4'], 200);
    await settled();
    expect(log).toEqual(['pull a@1 a@2 a@3', '[a@1,a@2,a@3]']);
    emitted[0]!.ack.postEnqueue();
    await settled();
    expect(log.slice(2)).toEqual(['pull a@4', 'a@4', 'returned', 'end']);
  });

  it('counts a delivery once, however often it is acked', async () => {
    const { log, emitted } = run(['a@1', 'a@2', 'a@3', 'a@4'], 200);
    await settled();
    for (let i = 0; i < 3; i++) emitted[0]!.ack.postFlush();
    await settled();
    expect(log.slice(4)).toEqual(['pull a@3', 'a@3']);
  });

  it.each(['ddl:a@2', 'truncate:a@2', 'sync@2'])(
    'emits nothing after %s until that is flushed, however much room there is',
    async (block) => {
      const { log, emitted } = run(['a@1', block, 'a@3'], 10_000);
      await settled();
      expect(log).toEqual(['pull a@1', 'a@1', `pull ${block}`, block]);
      emitted[1]!.ack.postEnqueue();
      await settled();
      expect(log.length).toBe(4);
      emitted[1]!.ack.postFlush();
      await settled();
      expect(log.slice(4)).toEqual(['pull a@3', 'a@3', 'returned', 'end']);
    },
  );

  it('does not ask for the flush of rows', async () => {
    const { log } = run(['a@1', 'a@2'], 10_000);
    await settled();
    expect(log).toEqual(['pull a@1', 'a@1', 'pull a@2', 'a@2', 'returned', 'end']);
  });

  it.each([
    ['enqueued', 'a@1', (delivery: Delivery) => delivery.ack.postEnqueue()],
    ['flushed', 'ddl:a@1', (delivery: Delivery) => delivery.ack.postFlush()],
  ])('goes on when a delivery is %s while it is emitted', async (_, first, ack) => {
    const { log } = run([first, 'a@2'], 100, ack);
    await settled();
    expect(log).toEqual([`pull ${first}`, first, 'pull a@2', 'a@2', 'returned', 'end']);
  });

  it.each([
    ['rows', 'a@1', 700],
    ['resolved marks, which have no bytes,', 'r@1', 300],
  ])('lets the event loop turn where a source gives %s without ever waiting', async (_, text, count) => {
    const seen: (number | string)[] = [];
    setImmediate(() => seen.push('turn'));
    const { emitted } = run(
      Array.from({ length: count }, () => text),
      1e9,
      () => seen.push(emitted.length),
    );
    while (emitted.length < count) await settled();
    expect(seen.indexOf('turn')).toBeGreaterThan(0);
    expect(seen.indexOf('turn')).toBeLessThan(count);
  });

  it('ends the iteration when it is unsubscribed while it waits for room', async () => {
    const { log, subscription } = run(['a@1', 'a@2'], 100);
    await settled();
    subscription.unsubscribe();
    await settled();
    expect(log).toEqual(['pull a@1', 'a@1', 'returned']);
  });

  it('ends the iteration when it is unsubscribed while it emits', async () => {
    const { log, subscription } = run(['a@1', 'a@2'], 1000, () => subscription.unsubscribe());
    await settled();
    expect(log).toEqual(['pull a@1', 'a@1', 'returned']);
  });

  it('drops what it pulled before it was unsubscribed', async () => {
    const { log, subscription } = run(['a@1'], 1000);
    subscription.unsubscribe();
    await settled();
    expect(log).toEqual(['pull a@1', 'returned']);
  });

  it('asks a source that waits to return, and hears nothing of what that fails with', async () => {
    let returned = 0;
    const waiting: AsyncIterable<Delivery> = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => {}),
        return: () => {
          returned++;
          return Promise.reject(new Error('closed already'));
        },
      }),
    };
    const errors: unknown[] = [];
    pump(waiting)
      .subscribe({ error: (error) => errors.push(error) })
      .unsubscribe();
    await settled();
    expect([returned, errors]).toEqual([1, []]);
  });

  it('passes on the error of its source, behind what was emitted', async () => {
    const log: string[] = [];
    async function* source() {
      yield deliveryOf('a@1');
      throw new Error('connection lost');
    }
    pump(source()).subscribe({ next: (delivery) => log.push(notationOf(delivery)), error: (error) => log.push(`${error}`) });
    await settled();
    expect(log).toEqual(['a@1', 'Error: connection lost']);
  });

  it('ends with a source that has nothing', async () => {
    const { log } = run([], 100);
    await settled();
    expect(log).toEqual(['returned', 'end']);
  });

  it('iterates for each subscription', async () => {
    const log: string[] = [];
    const twice = {
      [Symbol.asyncIterator]: () =>
        (async function* () {
          yield deliveryOf('a@1');
        })(),
    };
    const stream = pump(twice);
    for (let i = 0; i < 2; i++) stream.subscribe((delivery) => log.push(notationOf(delivery)));
    await settled();
    expect(log).toEqual(['a@1', 'a@1']);
  });
});
