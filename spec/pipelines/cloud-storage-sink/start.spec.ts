import { describe, expect, it } from '@jest/globals';
import { dmlEvent, RowBlockWriter } from '../../../lib/events/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { virtualTime } from '../../../lib/testing/index.ts';
import { publishedRows } from '../../support/published.ts';
import { runSink, type Transaction, table } from '../../support/sink-world.ts';
import { turnStore } from '../../support/turn-store.ts';

/** Each call of the store takes so long. */
const LATENCY_MS = 100;
const BY_DAY = { dateSeparator: 'day', workerCount: 512 } as const;

/** A transaction with a row of each of so many tables. */
function rowsOf(commitTs: bigint, tables: number): Transaction {
  const events = () =>
    Array.from({ length: tables }, (_, i) => {
      const of = table(`table_${i}`, 1n, ['id', 'name'], ['id']);
      return dmlEvent(
        new RowBlockWriter(of)
          .beginTransaction(commitTs, 0n, i)
          .insert({ id: `${i}`, name: 'x' })
          .build(),
      );
    });
  return { commitTs, events };
}

/** How many calls, one after another, a restart takes until a row of each table is durable, and how many tables at most were asked at once how far they have come. */
async function restart(tables: number): Promise<{ rounds: number; askedAtOnce: number }> {
  return virtualTime(async ({ clock }) => {
    const store = new MemoryStore();
    const history = [rowsOf(10n, tables), rowsOf(20n, tables)];
    await runSink(store, history.slice(0, 1), BY_DAY, { clock, hasOrdinals: true });
    let asked = 0;
    let askedAtOnce = 0;
    const slow = turnStore(store, async (_, stage, call) => {
      if (stage !== 'before') return;
      const isQuestion = call.startsWith('folders ');
      if (isQuestion) askedAtOnce = Math.max(askedAtOnce, ++asked);
      await clock.sleep(LATENCY_MS);
      if (isQuestion) asked--;
    });
    const startedMs = clock.now();
    expect((await runSink(slow, history, BY_DAY, { clock, hasOrdinals: true })).error).toBeNull();
    expect((await publishedRows(store)).length).toBe(2 * tables);
    return { rounds: (clock.now() - startedMs) / LATENCY_MS, askedAtOnce };
  });
}

describe('the start of a run at a target that has something', () => {
  it('takes twenty rounds of calls until the rows of a table are durable, five of them to ask how far it has come', async () => {
    const { rounds } = await restart(1);
    expect(rounds).toBeLessThanOrEqual(20);
  });

  it('asks for 32 tables beside each other, and no more, so that thousands of them do not wait for each other one by one', async () => {
    const [one, few, many, most] = [await restart(1), await restart(32), await restart(64), await restart(320)];
    expect(few.rounds).toBe(one.rounds);
    expect(many.rounds).toBe(one.rounds + 5);
    expect(most.rounds).toBe(one.rounds + 9 * 5);
    expect(many.askedAtOnce).toBe(few.askedAtOnce);
    expect(most.askedAtOnce).toBe(few.askedAtOnce);
  });
});
