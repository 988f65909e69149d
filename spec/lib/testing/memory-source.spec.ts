import { describe, expect, it } from '@jest/globals';
import { Delivery, resolvedEvent } from '../../../lib/events/index.ts';
import { type Clock, Metrics, noSystemEvents, silentLogger } from '../../../lib/flow/index.ts';
import { deliveryOf, type MemorySource, memorySource, notationOf, virtualTime } from '../../../lib/testing/index.ts';
import { errorOf } from '../../support/run-world.ts';

/** What one run is given, as `ms notation`, until it is stopped. */
async function read(source: MemorySource, clock: Clock, checkpointTs: bigint | null = null) {
  const abort = new AbortController();
  const opened = await source.open({
    pipeline: 'test',
    clock,
    logger: silentLogger,
    metrics: new Metrics(),
    events: noSystemEvents,
    checkpointTs,
    state: null,
    targetIdentity: null,
    saveState: async () => {},
    signal: abort.signal,
  });
  const seen: string[] = [];
  const deliveries: Delivery[] = [];
  const ended = (async () => {
    for await (const delivery of opened.deliveries) {
      deliveries.push(delivery);
      seen.push(`${clock.now()} ${notationOf(delivery)}`);
    }
    seen.push(`${clock.now()} |`);
  })();
  ended.catch((error: Error) => seen.push(`${clock.now()} # ${error.message}`));
  return { seen, deliveries, opened, stop: () => abort.abort() };
}

const events = (text: string) => deliveryOf(text).events;

describe('memorySource', () => {
  it('gives each delivery at its time, with the mark that its transaction is complete', () =>
    virtualTime(async ({ clock }) => {
      const source = memorySource();
      source.append(events('a@5'), 10);
      source.append(events('b@6'), 30);
      const run = await read(source, clock);
      await clock.advance(20);
      expect(run.seen).toEqual(['10 [a@5,res@5]']);
      await clock.advance(20);
      expect(run.seen).toEqual(['10 [a@5,res@5]', '30 [b@6,res@6]']);
      run.stop();
      await clock.settle();
      expect(run.seen.at(-1)).toBe('40 |');
    }));

  it('I2: gives no mark inside a transaction that comes in several deliveries', () =>
    virtualTime(async ({ clock }) => {
      const source = memorySource();
      for (const text of ['a@5', 'b@5.1', 'truncate:a@5.2', 'a@6']) source.append(events(text));
      const run = await read(source, clock);
      await clock.settle();
      expect(run.seen).toEqual(['0 a@5', '0 b@5.1', '0 truncate:a@5.2', '0 res@5', '0 [a@6,res@6]']);
    }));

  it('I8: gives a later run what stands behind its checkpoint: the rest of a block too, at once what was due', () =>
    virtualTime(async ({ clock }) => {
      const source = memorySource();
      source.append(events('a@5'), 0);
      source.append(events('b@6'), 5);
      source.append(events('a@6.1+7'), 10);
      source.append(events('a@9'), 500);
      await clock.advance(100);
      const run = await read(source, clock, 6n);
      await clock.advance(1000);
      expect(run.seen).toEqual(['100 [a@7,res@7]', '500 [a@9,res@9]']);
    }));

  it('gives each run events of its own: what a run hooks on an ack is not heard by the next', () =>
    virtualTime(async ({ clock }) => {
      const source = memorySource();
      const given = events('a@5');
      source.append(given);
      const acks = new Set<unknown>(given.map((event) => event.type === 'dml' && event.ack));
      for (let i = 0; i < 2; i++) {
        const { deliveries } = await read(source, clock);
        await clock.settle();
        for (const event of deliveries[0]!.events) if (event.type === 'dml') acks.add(event.ack);
      }
      expect(acks.size).toBe(3);
    }));

  it('ends where its log ends', () =>
    virtualTime(async ({ clock }) => {
      const source = memorySource();
      source.append(events('a@5'));
      source.end(20);
      const run = await read(source, clock);
      await clock.advance(50);
      expect(run.seen).toEqual(['0 [a@5,res@5]', '20 |']);
    }));

  it('breaks once, for the run of that time; the next goes on', () =>
    virtualTime(async ({ clock }) => {
      const source = memorySource();
      source.append(events('a@5'));
      source.fail(new Error('cut'), 20);
      source.append(events('a@6'), 30);
      const first = await read(source, clock);
      await clock.advance(25);
      expect(first.seen).toEqual(['0 [a@5,res@5]', '20 # cut']);
      const second = await read(source, clock, 5n);
      await clock.advance(25);
      expect(second.seen).toEqual(['30 [a@6,res@6]']);
      const missed = memorySource();
      missed.fail(new Error('cut'), 10);
      missed.append(events('a@5'), 60);
      const late = await read(missed, clock);
      await clock.advance(50);
      expect(late.seen).toEqual(['60 [a@5,res@5]']);
    }));

  it('leaves the marks to the test where it is told to', () =>
    virtualTime(async ({ clock }) => {
      const source = memorySource({ resolves: false });
      source.append(events('a@5'));
      source.append([resolvedEvent(7n)]);
      const run = await read(source, clock);
      await clock.settle();
      expect(run.seen).toEqual(['0 a@5', '0 res@7']);
    }));

  it('takes its deliveries from a function too, made afresh for each run', () =>
    virtualTime(async ({ clock }) => {
      const asked: (bigint | null)[] = [];
      const source = memorySource({
        headTs: 9n,
        deliveries: (checkpointTs) => {
          asked.push(checkpointTs);
          return [new Delivery(events('a@5')), new Delivery([resolvedEvent(5n)])];
        },
      });
      const first = await read(source, clock);
      const second = await read(source, clock, 4n);
      await clock.settle();
      expect(asked).toEqual([null, 4n]);
      expect(first.seen).toEqual(['0 a@5', '0 res@5', '0 |']);
      expect(second.seen).toEqual(first.seen);
      expect(first.opened.headTs).toBe(9n);
    }));

  it.each([
    ['a position again', ['a@5', 'a@5'], 'it does not come after 5/0'],
    ['a position before the last', ['a@5.3', 'a@5.1'], 'it does not come after 5/3'],
    ['a change that a mark has passed', ['res@7', 'b@6'], 'a resolved mark at 7 says that everything up to there has come'],
    ['a mark that goes back', ['res@7', 'res@6'], 'a resolved mark at 7 comes before it'],
    ['a TRUNCATE with others', ['[truncate:a@5,a@5.1]'], 'it is not alone in its delivery'],
  ])('refuses what no source could emit: %s', async (_, texts, reason) => {
    const source = memorySource();
    const error = await errorOf((async () => texts.map((text) => source.append(events(text))))());
    expect(error).toMatchObject({ code: 'MR_FEED_REFUSED', details: { reason } });
    // What was refused has left nothing behind.
    source.append(events('a@100'));
  });

  it('takes a schema change and the change behind it at one ordinal', () => {
    const source = memorySource();
    for (const text of ['a@5', 'ddl:a@6', 'a@6', 'a@6.1']) source.append(events(text));
    expect(() => source.append(events('a@6.1'))).toThrow('MR_FEED_REFUSED');
  });
});
