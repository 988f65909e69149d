import assert from 'node:assert/strict';
import { drainMarker, resolvedEvent, syncpointEvent } from '../events/index.ts';
import type { Sink } from '../runtime/sink.ts';
import type { RecordedChange } from './recorded-change.ts';
import { globalRunner, type TestRunner } from './runner.ts';
import { SinkRun, SOURCE } from './sink-run.ts';
import { altered, deleted, inserted, suiteTable, truncated } from './suite-tables.ts';

export interface SinkFixture {
  /** The sink; each time it is opened it finds the same target. It may gather rows for up to an hour of its context's clock. */
  readonly sink: Sink;
  /**
   * What a reader finds in the target now, whatever the published checkpoint is: inserts, updates, deletes and TRUNCATEs (others are ignored), in order for
   * each table, each position once.
   */
  read(): Promise<readonly Pick<RecordedChange, 'table' | 'op' | 'commitTs' | 'ordinal'>[]>;
  /** From now on writes to the target wait, before they have any effect. `GateStore` does it for a sink over an object store. */
  hold(): void;
  /** Lets them go on. */
  release(): void;
  /** The next write to the target fails. */
  failNext(): void;
  /** The checkpoint that readers find; left out by a sink that publishes none. */
  published?(): Promise<bigint | null>;
  close(): Promise<void>;
}

/**
 * What every sink must do (I1, I3, I7, I8). `make` gives one over an empty target for each test. Time is virtual, the target may be real.
 *
 * @param runner functions of the test runner. Default: the global ones.
 */
export function describeSink(name: string, make: () => Promise<SinkFixture>, runner: TestRunner = globalRunner()): void {
  const it = (title: string, body: (tools: Tools) => Promise<void>) =>
    runner.it(title, async () => {
      const fixture = await make();
      const runs: SinkRun[] = [];
      const open = async (checkpointTs?: bigint) => {
        const run = await SinkRun.open(fixture.sink, checkpointTs);
        runs.push(run);
        return run;
      };
      try {
        await body({ fixture, open, places: async () => placesOf(await fixture.read()) });
      } finally {
        fixture.release();
        for (const run of runs) await run.close();
        await fixture.close();
      }
    });

  runner.describe(`sink: ${name}`, () => {
    it('remembers the source that claimed it, and tells the next run', async ({ fixture, open }) => {
      const context = (await open()).context;
      const again = await fixture.sink.open({ pipeline: 'suite', context });
      assert.deepEqual(again.identity, SOURCE);
      await again.claim(SOURCE);
      await again.close();
    });

    it('refuses another source, because its changes would be mixed in', async ({ fixture, open }) => {
      const { context } = await open();
      const again = await fixture.sink.open({ pipeline: 'suite', context });
      await assert.rejects(again.claim({ source: 'another' }));
      await again.close();
    });

    it('I1: acks nothing as flushed before it is durable', async ({ fixture, open, places }) => {
      const run = await open();
      fixture.hold();
      const sent = run.send(inserted(A, 5n), resolvedEvent(5n));
      await run.quiet();
      assert.ok(!sent.acks.includes('flushed'), 'flushed while its write waits');
      assert.equal(run.checkpointTs, 4n);
      fixture.release();
      await run.until('the flush ack', () => sent.acks.includes('flushed'));
      assert.deepEqual(await places(), ['a insert 5/0']);
      assert.equal(run.checkpointTs, 5n);
    });

    it('I1: a flush ack says that a reader finds it, whenever one looks', async ({ open, places }) => {
      const run = await open();
      const found: Promise<string[]>[] = [];
      const event = inserted(A, 5n);
      event.ack.addPostFlush(() => found.push(places()));
      run.send(event, resolvedEvent(5n));
      await run.until('the flush ack', () => found.length > 0);
      assert.deepEqual(await found[0], ['a insert 5/0']);
    });

    it('accepts rows before they are durable, so that the source goes on', async ({ fixture, open }) => {
      const run = await open();
      fixture.hold();
      const sent = run.send(inserted(A, 5n));
      await run.until('the enqueue ack', () => sent.acks.includes('enqueued'));
      assert.deepEqual(sent.acks, ['enqueued']);
    });

    it('acks each delivery once, enqueued before or with flushed', async ({ open }) => {
      const run = await open();
      const sent = [5n, 6n, 7n].map((ts) => run.send(inserted(A, ts), inserted(B, ts), resolvedEvent(ts)));
      await run.until('all flush acks', () => sent.every(({ acks }) => acks.includes('flushed')));
      await run.quiet();
      for (const { acks, eventAcks } of sent) {
        assert.deepEqual([...acks].sort(), ['enqueued', 'flushed']);
        assert.deepEqual([...eventAcks].sort(), [0, 1]);
      }
    });

    it('I1: a write that failed is no ack: it ends the run with an error, and nothing behind it counts', async ({
      fixture,
      open,
      places,
    }) => {
      const run = await open();
      fixture.failNext();
      const sent = run.send(inserted(A, 5n), resolvedEvent(5n));
      await run.until('the error', () => run.end !== null);
      assert.notEqual(run.end, 'complete');
      assert.ok(!sent.acks.includes('flushed'), 'flushed, though its write failed');
      assert.equal(run.checkpointTs, 4n);
      await run.quiet();
      assert.ok(!sent.acks.includes('flushed'), 'flushed after its write had failed');
      await run.close();

      const next = await open(4n);
      const again = next.send(inserted(A, 5n), resolvedEvent(5n));
      await next.until('the flush ack', () => again.acks.includes('flushed'));
      assert.deepEqual(await places(), ['a insert 5/0']);
    });

    it('I3: changes that share a position are acked together', async ({ fixture, open, places }) => {
      const run = await open();
      fixture.hold();
      const sent = run.send(deleted(A, 5n, 0, 'x'), inserted(A, 5n, 0, { id: 'y', note: null }), resolvedEvent(5n));
      await run.quiet();
      assert.deepEqual(sent.eventAcks, []);
      fixture.release();
      await run.until('an ack of one', () => sent.eventAcks.length > 0);
      assert.deepEqual([...sent.eventAcks].sort(), [0, 1]);
      assert.deepEqual(await places(), ['a delete 5/0', 'a insert 5/0']);
    });

    it('I7: a delivery without changes is acked at once, and its resolved mark moves the checkpoint', async ({ fixture, open }) => {
      const run = await open();
      fixture.hold();
      assert.deepEqual([...run.send().acks].sort(), ['enqueued', 'flushed']);
      assert.deepEqual([...run.send(resolvedEvent(40n)).acks].sort(), ['enqueued', 'flushed']);
      assert.equal(run.checkpointTs, 40n);
    });

    it('keeps the changes of a table in position order', async ({ open, places }) => {
      const run = await open();
      for (let ts = 5n; ts < 25n; ts++) run.send(inserted(A, ts, 0), inserted(B, ts, 1), inserted(A, ts, 2), resolvedEvent(ts));
      await run.until('the checkpoint', () => run.checkpointTs === 24n);
      const found = await places();
      const transactions = Array.from({ length: 20 }, (_, i) => i + 5);
      assert.deepEqual(
        found.filter((place) => place.startsWith('a')),
        transactions.flatMap((ts) => [`a insert ${ts}/0`, `a insert ${ts}/2`]),
      );
      assert.deepEqual(
        found.filter((place) => place.startsWith('b')),
        transactions.map((ts) => `b insert ${ts}/1`),
      );
    });

    it('reports the rows that it made durable', async ({ open }) => {
      const run = await open();
      run.send(inserted(A, 5n), inserted(A, 6n), inserted(B, 6n));
      await run.until('the reports', () => run.reports.reduce((rows, report) => rows + report.rows, 0) === 3);
      assert.deepEqual(new Set(run.reports.map(({ table }) => table)), new Set(['public.a', 'public.b']));
    });

    it('a block event is durable behind the rows before it', async ({ fixture, open, places }) => {
      const run = await open();
      fixture.hold();
      const rows = run.send(inserted(A, 5n), resolvedEvent(5n));
      const ddl = run.send(altered(suiteTable('a', 6n), 6n));
      await run.quiet();
      assert.ok(!rows.acks.includes('flushed') && !ddl.acks.includes('flushed'), 'flushed while writes wait');
      fixture.release();
      await run.until('the ack of the schema change', () => ddl.acks.includes('flushed'));
      assert.ok(rows.acks.includes('flushed'), 'the schema change came before the rows');
      const after = run.send(inserted(suiteTable('a', 6n), 6n, 0), resolvedEvent(6n));
      await run.until('the rows of the new version', () => after.acks.includes('flushed'));
      assert.deepEqual(await places(), ['a insert 5/0', 'a insert 6/0']);
      assert.equal(run.checkpointTs, 6n);
    });

    it('a block event does not wait for an interval', async ({ open }) => {
      const run = await open();
      run.send(inserted(A, 5n));
      const ddl = run.send(altered(suiteTable('a', 6n), 6n));
      // No virtual time passes here: whoever waits for it waits in vain.
      for (let turn = 0; turn < 2000 && !ddl.acks.includes('flushed'); turn++) await run.clock.settle();
      await run.until('the ack of the schema change', () => ddl.acks.includes('flushed'));
    });

    it('a TRUNCATE stands between the rows before and behind it', async ({ open, places }) => {
      const run = await open();
      run.send(inserted(A, 5n));
      const truncate = run.send(truncated(suiteTable('a', 6n), 6n));
      await run.until('the ack of the TRUNCATE', () => truncate.acks.includes('flushed'));
      const after = run.send(inserted(suiteTable('a', 6n), 6n, 1), resolvedEvent(6n));
      await run.until('the rows behind it', () => after.acks.includes('flushed'));
      assert.deepEqual(await places(), ['a insert 5/0', 'a truncate 6/0', 'a insert 6/1']);
    });

    it('two block events, one behind the other: each drains, the second with nothing to drain', async ({ open }) => {
      const run = await open();
      run.send(inserted(A, 5n));
      const first = run.send(altered(suiteTable('a', 6n), 6n));
      await run.until('the first', () => first.acks.includes('flushed'));
      const second = run.send(altered(suiteTable('a', 7n), 7n));
      await run.until('the second', () => second.acks.includes('flushed'));
      const unknown = run.send(altered(suiteTable('b', 7n), 7n), resolvedEvent(7n));
      await run.until('one of a table without rows', () => unknown.acks.includes('flushed'));
      assert.equal(run.checkpointTs, 7n);
    });

    it('an error between two drains: what comes behind it is never acked', async ({ fixture, open }) => {
      const run = await open();
      run.send(inserted(A, 5n));
      const first = run.send(altered(suiteTable('a', 6n), 6n));
      await run.until('the first drain', () => first.acks.includes('flushed'));
      fixture.failNext();
      const rows = run.send(inserted(suiteTable('a', 6n), 6n, 0));
      const second = run.send(altered(suiteTable('a', 7n), 7n));
      await run.until('the error', () => run.end !== null);
      await run.quiet();
      assert.notEqual(run.end, 'complete');
      assert.ok(!rows.acks.includes('flushed') && !second.acks.includes('flushed'), 'acked behind a write that failed');
    });

    it('a syncpoint is acked when the rows of all tables before it are durable', async ({ fixture, open, places }) => {
      const run = await open();
      fixture.hold();
      const rows = run.send(inserted(A, 5n), inserted(B, 5n, 1));
      const syncpoint = run.send(syncpointEvent(5n), resolvedEvent(5n));
      await run.quiet();
      assert.ok(!syncpoint.acks.includes('flushed'), 'flushed while writes wait');
      fixture.release();
      await run.until('the ack of the syncpoint', () => syncpoint.acks.includes('flushed'));
      assert.ok(rows.acks.includes('flushed'), 'the syncpoint came before the rows');
      assert.deepEqual((await places()).sort(), ['a insert 5/0', 'b insert 5/1']);
    });

    it('flushes everything it has accepted when the deliveries end, then completes', async ({ open, places }) => {
      const run = await open();
      const sent = [run.send(inserted(A, 5n)), run.send(inserted(B, 6n), resolvedEvent(6n))];
      run.complete();
      await run.until('the end', () => run.end !== null);
      assert.equal(run.end, 'complete');
      assert.ok(
        sent.every(({ acks }) => acks.includes('flushed')),
        'it completed before everything was flushed',
      );
      assert.equal(run.checkpointTs, 6n);
      assert.deepEqual((await places()).sort(), ['a insert 5/0', 'b insert 6/0']);
    });

    it('completes at once when it holds nothing', async ({ open }) => {
      const empty = await open();
      empty.complete();
      await empty.until('the end', () => empty.end === 'complete');
      assert.deepEqual(empty.reports, []);
      const drained = await open();
      const sent = drained.send(inserted(A, 5n));
      await drained.until('the flush ack', () => sent.acks.includes('flushed'));
      drained.complete();
      await drained.until('the end', () => drained.end === 'complete');
    });

    it('passes an error of the stages on, and has acked only what is durable', async ({ open, places }) => {
      const run = await open();
      const sent = run.send(inserted(A, 5n), resolvedEvent(5n));
      run.fail(new Error('a stage failed'));
      await run.until('the error', () => run.end !== null);
      assert.notEqual(run.end, 'complete');
      const acked = sent.acks.includes('flushed');
      assert.deepEqual(acked ? await places() : [], acked ? ['a insert 5/0'] : []);
    });

    it('stops without a flush when it is let go: nothing is acked or appears after it was closed', async ({ open, places }) => {
      const run = await open();
      const sent = run.send(inserted(A, 5n), resolvedEvent(5n));
      await run.close();
      const acks = [...sent.acks];
      const found = await places();
      await run.quiet();
      assert.deepEqual(sent.acks, acks);
      assert.deepEqual(await places(), found);
    });

    it('I8: what a restart writes again is found once', async ({ open, places }) => {
      const first = await open();
      const sent = [5n, 6n, 7n].map((ts) => first.send(inserted(A, ts), inserted(B, ts, 1), resolvedEvent(ts)));
      await first.until('the flush acks', () => sent.every(({ acks }) => acks.includes('flushed')));
      await first.close();
      const second = await open(5n);
      const again = [6n, 7n, 8n].map((ts) => second.send(inserted(A, ts), inserted(B, ts, 1), resolvedEvent(ts)));
      await second.until('the flush acks', () => again.every(({ acks }) => acks.includes('flushed')));
      assert.equal(second.checkpointTs, 8n);
      assert.deepEqual((await places()).sort(), [5, 6, 7, 8].flatMap((ts) => [`a insert ${ts}/0`, `b insert ${ts}/1`]).sort());
    });

    it('publishes a final checkpoint at once, and never goes back', async ({ fixture, open }) => {
      const run = await open();
      const published = async () => (await fixture.published?.()) ?? null;
      await run.sink.publishCheckpoint(7n, true);
      if (fixture.published !== undefined) assert.equal(await published(), 7n);
      await run.sink.publishCheckpoint(6n, true);
      if (fixture.published !== undefined) assert.equal(await published(), 7n);
      await run.sink.publishCheckpoint(9n, false);
      if (fixture.published !== undefined) await run.until('the newer one', async () => (await published()) === 9n);
    });

    it('acks a drain marker when everything before it on its route is durable', async ({ fixture, open }) => {
      const run = await open();
      fixture.hold();
      run.send(inserted(A, 5n));
      const marker = drainMarker(A.dispatcher);
      const acks: string[] = [];
      marker.ack.addPostFlush(() => acks.push('flushed'));
      run.send(marker);
      await run.quiet();
      assert.deepEqual(acks, []);
      fixture.release();
      await run.until('the ack of the marker', () => acks.length > 0);
    });
  });
}

interface Tools {
  readonly fixture: SinkFixture;
  open(checkpointTs?: bigint): Promise<SinkRun>;
  /** What the target holds, as `a insert 5/0`. */
  places(): Promise<string[]>;
}

const A = suiteTable('a');
const B = suiteTable('b');
const SHOWN = new Set(['insert', 'update', 'delete', 'truncate']);

function placesOf(changes: Awaited<ReturnType<SinkFixture['read']>>): string[] {
  return changes
    .filter(({ op }) => SHOWN.has(op))
    .map(({ table, op, commitTs, ordinal }) => `${table.replace(/^public\./, '')} ${op} ${commitTs}/${ordinal}`);
}
