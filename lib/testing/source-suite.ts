import assert from 'node:assert/strict';
import { isBlockEvent, isDataEvent } from '../events/index.ts';
import { stringifyJson } from '../formats/json.ts';
import type { Source } from '../sources/source.ts';
import { globalRunner, type TestRunner } from './runner.ts';
import { SourceReader, SourceState } from './source-reader.ts';

/** A change that the suite commits: tables `a` and `b` have `id` (their key) and `note`, both text. */
export type SourceChange =
  | { readonly op: 'insert' | 'update'; readonly table: 'a' | 'b'; readonly id: string; readonly note: string | null }
  | { readonly op: 'delete'; readonly table: 'a' | 'b'; readonly id: string }
  | { readonly op: 'truncate'; readonly table: 'a' | 'b' };

export interface SourceFixture {
  /** Captures tables `a` and `b`. It is opened again and again, one run at a time. */
  readonly source: Source;
  /** Commits one transaction of these changes. */
  commit(changes: readonly SourceChange[]): Promise<void>;
  /** Commits a transaction that changes nothing in `a` and `b`. */
  commitElsewhere(): Promise<void>;
  /** How long one waits for the next delivery before the test fails, milliseconds. Default 20 000. */
  readonly patienceMs?: number;
  close(): Promise<void>;
}

/**
 * What every source must do (I1, I2, I5–I7, and the promises of `OpenSource`). `make` gives one with two empty tables `a` and `b` for each test.
 *
 * @param runner functions of the test runner. Default: the global ones.
 */
export function describeSource(name: string, make: () => Promise<SourceFixture>, runner: TestRunner = globalRunner()): void {
  const it = (title: string, body: (tools: Tools) => Promise<void>) =>
    runner.it(title, async () => {
      const fixture = await make();
      const readers: SourceReader[] = [];
      const open = async (state = new SourceState()) => {
        const reader = await SourceReader.open(fixture.source, state, fixture.patienceMs ?? PATIENCE_MS);
        readers.push(reader);
        return reader;
      };
      try {
        await body({ fixture, open, commit: (...changes) => fixture.commit(changes) });
      } finally {
        for (const reader of readers) await reader.close();
        await fixture.close();
      }
    });

  runner.describe(`source: ${name}`, () => {
    it('gives each change of each transaction, values and all, in order', async ({ open, commit }) => {
      const reader = await open();
      await reader.caughtUp();
      await commit(row('insert', 'a', '1', 'x'), row('insert', 'a', '2', null), row('insert', 'b', '1', 'y'));
      await commit(row('update', 'a', '1', 'z'), { op: 'delete', table: 'a', id: '2' });
      await reader.until(() => reader.changes('a').length === 4 && reader.changes('b').length === 1);
      assert.deepEqual(
        reader.changes('a').map(({ op, data, old }) => [op, data ?? old?.['id']]),
        [
          ['insert', { id: '1', note: 'x' }],
          ['insert', { id: '2', note: null }],
          ['update', { id: '1', note: 'z' }],
          ['delete', '2'],
        ],
      );
      assert.deepEqual(reader.changes('b')[0]?.data, { id: '1', note: 'y' });
    });

    it('gives every change of a key that changes often in one transaction, in its order', async ({ open, commit }) => {
      const reader = await open();
      await commit(
        row('insert', 'a', '1', 'one'),
        row('update', 'a', '1', 'two'),
        row('update', 'a', '1', 'three'),
        { op: 'delete', table: 'a', id: '1' },
        row('insert', 'a', '1', 'four'),
      );
      await reader.until(() => reader.changes('a').at(-1)?.data?.['note'] === 'four');
      const changes = reader.changes('a').filter(({ commitTs }) => commitTs === reader.changes('a').at(-1)!.commitTs);
      // Committed before the first start it may come as the row that it left behind.
      if (changes.length > 1)
        assert.deepEqual(
          changes.map(({ op }) => op),
          ['insert', 'update', 'update', 'delete', 'insert'],
        );
    });

    it('positions ascend strictly in each table, in transactions that mix tables too', async ({ open, commit }) => {
      const reader = await open();
      await reader.caughtUp();
      for (let i = 0; i < 5; i++) {
        await commit(
          row('insert', 'a', `${i}`, 'x'),
          row('insert', 'b', `${i}`, 'x'),
          row('update', 'a', `${i}`, 'y'),
          row('update', 'b', `${i}`, 'y'),
        );
      }
      await reader.until(() => reader.notes('b').filter((note) => note === 'y').length === 5);
      // The reader checks each position as it comes.
      assert.equal(reader.changes('a').length, 10);
    });

    it('I2: a resolved mark says that everything up to it has come, and never goes back', async ({ open, commit }) => {
      const reader = await open();
      await reader.caughtUp();
      const many = Array.from({ length: 2000 }, (_, i) =>
        row('insert', 'a', `${i}`, 'a note of some length, so that they do not fit into one'),
      );
      await commit(...many);
      await commit(row('insert', 'b', 'last', 'x'));
      // The reader fails when a change comes at or below a mark before it, or when a mark goes back.
      await reader.until(() => reader.changes('b').length === 1 && reader.resolvedTs >= reader.changes('b')[0]!.commitTs);
      assert.equal(reader.changes('a').length, 2000);
    });

    it('a TRUNCATE comes alone in its delivery, between the rows before and behind it', async ({ open, commit }) => {
      const reader = await open();
      await reader.caughtUp();
      await commit(row('insert', 'a', '1', 'x'));
      await commit({ op: 'truncate', table: 'a' }, row('insert', 'a', '2', 'y'));
      await reader.until(() => reader.changes('a').at(-1)?.data?.['id'] === '2');
      assert.deepEqual(
        reader.changes('a').map(({ op }) => op),
        ['insert', 'truncate', 'insert'],
      );
      for (const { events } of reader.deliveries.filter((delivery) => delivery.events.some(isBlockEvent))) {
        assert.equal(events.filter((event) => isDataEvent(event) || event.type === 'syncpoint').length, 1);
      }
    });

    it('from a checkpoint it gives exactly what follows, at the same positions (I8)', async ({ open, commit }) => {
      const state = new SourceState();
      const first = await open(state);
      await first.caughtUp();
      first.checkpoint();
      for (let i = 1; i <= 6; i++) {
        await commit(row('insert', 'a', `${i}`, 'x'), row('insert', 'b', `${i}`, null), row('update', 'a', `${i}`, 'y'));
        await first.until(() => first.resolvedTs >= (first.changes('b').at(-1)?.commitTs ?? -1n) && first.changes('b').length === i);
      }
      const seen = first.streamed();
      await first.close();
      const places = [...new Set(seen.map(({ commitTs }) => commitTs))];
      assert.equal(places.length, 6);
      for (const checkpointTs of [places[1]!, places[1]! + 1n, places[4]!]) {
        const next = await open(state.at(checkpointTs));
        const expected = seen.filter((change) => change.commitTs > checkpointTs);
        await next.until(() => next.resolvedTs >= places.at(-1)!);
        assert.deepEqual(next.streamed(), expected);
        await next.close();
      }
    });

    it('goes on behind what was confirmed', async ({ open, commit }) => {
      const state = new SourceState();
      const first = await open(state);
      await first.caughtUp();
      await commit(row('insert', 'a', '1', 'x'));
      await first.until(() => first.changes('a').length === 1 && first.resolvedTs >= first.changes('a')[0]!.commitTs);
      first.checkpoint();
      first.checkpoint();
      await first.close();
      await commit(row('insert', 'a', '2', 'y'));
      const second = await open(state);
      await second.until(() => second.changes('a').length > 0);
      assert.deepEqual(
        second.changes('a').map(({ data }) => data?.['id']),
        ['2'],
      );
    });

    it('I6: below what was confirmed it gives everything all the same, or refuses; it never skips', async ({ open, commit }) => {
      const state = new SourceState();
      const first = await open(state);
      await first.caughtUp();
      first.checkpoint();
      const older = state.at(first.resolvedTs);
      for (const id of ['1', '2']) {
        await commit(row('insert', 'a', id, 'x'));
        await first.until(() => first.changes('a').at(-1)?.data?.['id'] === id && first.resolvedTs >= first.changes('a').at(-1)!.commitTs);
        first.checkpoint();
      }
      const lastTs = first.resolvedTs;
      await first.close();
      const refused = (error: unknown) => {
        if (error instanceof assert.AssertionError) throw error;
        return null;
      };
      const second = await open(older).catch(refused);
      if (second !== null && (await second.until(() => second.resolvedTs >= lastTs).catch(refused)) !== null)
        assert.deepEqual(
          second.changes('a').map(({ data }) => data?.['id']),
          ['1', '2'],
        );
    });

    it('I7: what it does not capture moves the resolved mark too', async ({ fixture, open }) => {
      const reader = await open();
      await reader.caughtUp();
      const before = reader.resolvedTs;
      await fixture.commitElsewhere();
      await reader.until(() => reader.resolvedTs > before);
    });

    it('I5: what was there before the first start comes too, and again as long as no checkpoint was stored', async ({ open, commit }) => {
      await commit(row('insert', 'a', '1', 'x'), row('insert', 'b', '1', 'x'));
      await commit(row('insert', 'a', '2', 'y'));
      const state = new SourceState();
      const first = await open(state);
      await first.until(() => first.changes('a').length === 2);
      await first.close();

      const second = await open(state);
      await second.until(() => second.changes('a').length === 2 && second.changes('b').length === 1);
      await second.caughtUp();
      second.checkpoint();
      await second.close();

      await commit(row('insert', 'a', '3', 'z'));
      const third = await open(state);
      await third.until(() => third.changes('a').length > 0);
      assert.deepEqual(
        third.changes('a').map(({ data }) => data?.['id']),
        ['3'],
      );
    });

    it('says at its opening how far the database has come', async ({ open, commit }) => {
      const state = new SourceState();
      const first = await open(state);
      await first.caughtUp();
      first.checkpoint();
      await first.close();
      await commit(row('insert', 'a', '1', 'x'), row('insert', 'b', '1', 'x'));
      const reader = await open(state);
      await reader.until(() => reader.resolvedTs >= reader.source.headTs);
      assert.deepEqual([reader.changes('a').length, reader.changes('b').length], [1, 1]);
    });

    it('is the same source each time', async ({ open }) => {
      const first = await open();
      await first.close();
      const second = await open(first.state);
      assert.equal(stringifyJson(second.source.identity), stringifyJson(first.source.identity));
    });

    it('ends its deliveries at the signal, without an error, while it waits for the next', async ({ open }) => {
      const reader = await open();
      await reader.caughtUp();
      reader.stop();
      await reader.ended();
    });

    it('ends them at the signal in the middle of something', async ({ open, commit }) => {
      const reader = await open();
      for (let i = 0; i < 20; i++) await commit(row('insert', 'a', `${i}`, 'x'));
      await reader.until(() => reader.changes('a').length > 0);
      reader.stop();
      await reader.ended();
    });

    it('can be closed twice, and after its deliveries have ended', async ({ open }) => {
      const reader = await open();
      await reader.caughtUp();
      await reader.source.close();
      await reader.source.close();
      assert.equal(reader.source.status().phase, 'closed');
    });

    it('its status follows what it has emitted', async ({ open, commit }) => {
      const reader = await open();
      await reader.caughtUp();
      await commit(row('insert', 'a', '1', 'x'));
      await reader.until(() => reader.changes('a').length === 1 && reader.resolvedTs >= reader.changes('a')[0]!.commitTs);
      const { phase, sourceTs, tables } = reader.source.status();
      assert.equal(phase, 'streaming');
      assert.ok(sourceTs >= reader.changes('a')[0]!.commitTs, `the newest position is ${sourceTs}`);
      for (const { snapshotDone, stopped } of tables.values()) assert.deepEqual([snapshotDone, stopped], [true, false]);
    });
  });
}

const PATIENCE_MS = 20_000;

interface Tools {
  readonly fixture: SourceFixture;
  open(state?: SourceState): Promise<SourceReader>;
  commit(...changes: SourceChange[]): Promise<void>;
}

function row(op: 'insert' | 'update', table: 'a' | 'b', id: string, note: string | null): SourceChange {
  return { op, table, id, note };
}
