import { describe, expect, it } from '@jest/globals';
import { type ChangeEvent, ddlEvent, dmlEvent, RowBlockWriter, type RowValues, truncateEvent } from '../../../lib/events/index.ts';
import { parseMetadata } from '../../../lib/formats/storage-layout/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { seededRandom } from '../../../lib/testing/random.ts';
import { readTable } from '../../../pipelines/index.ts';
import { FaultStore } from '../../support/fault-store.ts';
import { type ManualClock, manualClock } from '../../support/manual-clock.ts';
import { runSink, type Transaction, table } from '../../support/sink-world.ts';

const SEEDS = 8;
const ROUNDS = 10;
const DAY_MS = 86_400_000;
const TABLES = ['a', 'b', 'c'];
const SHAPES = [
  ['id', 'name'],
  ['id', 'name', 'age'],
  ['id', 'big', 'name'],
];

type Below = (bound: number) => number;

function below(seed: number): Below {
  const random = seededRandom(seed);
  return (bound) => Math.floor(random() * bound);
}

const tableOf = (name: string, version: bigint, shape: number) => table(name, version, SHAPES[shape]!, ['id']);

interface World {
  readonly history: readonly Transaction[];
  /** By table: `commitTs/ordinal op` of each change, as readers are to see them. */
  readonly changes: ReadonlyMap<string, readonly string[]>;
}

/** Transactions over three tables: rows, key updates, TRUNCATEs, changes of columns there and back, in any order. */
function worldOf(random: Below): World {
  const changes = new Map(TABLES.map((name) => [name, [] as string[]]));
  const versions = new Map<string, { version: bigint; shape: number }>();
  const history: Transaction[] = [];
  let commitTs = 10n;
  for (let left = 3 + random(15); left > 0; left--) {
    commitTs += BigInt(50 + random(3));
    const makers: (() => ChangeEvent)[] = [];
    let ordinal = 0;
    for (let steps = 1 + random(6); steps > 0; steps--) {
      const name = TABLES[random(TABLES.length)]!;
      const now = versions.get(name);
      const at = { commitTs, ordinal };
      const version = now === undefined || now.version < commitTs ? commitTs : now.version + 1n;
      const step = random(10);
      if (now === undefined || step === 9) {
        const shape = now === undefined ? 0 : random(SHAPES.length);
        versions.set(name, { version, shape });
        const startsEmpty = now === undefined;
        makers.push(() => ddlEvent({ position: at, commitTimeUs: 0n, table: tableOf(name, version, shape), startsEmpty }));
      } else if (step === 8) {
        versions.set(name, { version, shape: now.shape });
        changes.get(name)!.push(`${at.commitTs}/${ordinal++} T`);
        makers.push(() => truncateEvent({ position: at, commitTimeUs: 0n, table: tableOf(name, version, now.shape), query: 'TRUNCATE' }));
      } else {
        const ops = Array.from({ length: 1 + random(20) }, () => random(4));
        changes.get(name)!.push(...ops.flatMap((op, i) => SHOWN[op]!.map((shown) => `${at.commitTs}/${at.ordinal + i} ${shown}`)));
        ordinal += ops.length;
        makers.push(() => rowsOf(tableOf(name, now.version, now.shape), at, ops));
      }
    }
    history.push({ commitTs, events: () => makers.map((make) => make()) });
  }
  return { history, changes };
}

/** Insert, update, delete, and an update of the key, which is written as two rows. */
const SHOWN = [['I'], ['U'], ['D'], ['D', 'I']];

function rowsOf(of: ReturnType<typeof tableOf>, at: { commitTs: bigint; ordinal: number }, ops: readonly number[]): ChangeEvent {
  const writer = new RowBlockWriter(of).beginTransaction(at.commitTs, 0n, at.ordinal);
  const values = (id: string): RowValues => Object.fromEntries(of.columns.map(({ name }) => [name, name === 'id' ? id : `v${at.ordinal}`]));
  ops.forEach((op, index) => {
    const id = String((at.ordinal + index) % 5);
    if (op === 0) writer.insert(values(id));
    else if (op === 1) writer.update(null, values(id));
    else if (op === 2) writer.delete({ id });
    else writer.update({ id }, values(`${id}n`));
  });
  return dmlEvent(writer.build());
}

async function read(store: MemoryStore, name: string, upTo: bigint): Promise<string[]> {
  const seen: string[] = [];
  try {
    for await (const batch of readTable(store, { schema: 'public', table: name }, { upTo })) {
      for (const { commitTs, ordinal, op } of batch) seen.push(`${commitTs}/${ordinal} ${op}`);
    }
  } catch (error) {
    expect(error).toMatchObject({ code: 'MR_UNKNOWN_TABLE' });
  }
  return seen;
}

/** A clock whose days go forward and back. */
function jumpingClock(): { clock: ManualClock; jump(day: number): void } {
  const clock = manualClock();
  const { now } = clock;
  let shift = 0;
  return {
    clock: { ...clock, now: () => now() + shift },
    jump: (day) => {
      shift = day * DAY_MS;
    },
  };
}

describe('the cloud storage sink over crashes, restarts, other options and another clock', () => {
  it.each(
    ['canal-json', 'csv'].flatMap((protocol) =>
      [false, true].flatMap((dropsSchemaChanges) =>
        Array.from({ length: SEEDS }, (_, i) => [i + 1, protocol, dropsSchemaChanges] as const),
      ),
    ),
  )(
    'I1, I8: readers see every change up to the checkpoint once: seed %i, %s, a stage drops schema changes: %s',
    async (seed, protocol, drops) => {
      const random = below(seed);
      const { history, changes } = worldOf(random);
      const sent = drops
        ? history.map(({ commitTs, events }) => ({ commitTs, events: () => events().filter(({ type }) => type === 'dml') }))
        : history;
      const store = new MemoryStore();
      const { clock, jump } = jumpingClock();
      const csv = { outputOldValue: seed % 3 === 0, outputFieldHeader: seed % 2 === 0 };
      let checkpointTs = 0n;
      for (let round = 1; round <= ROUNDS; round++) {
        jump(8 + random(3));
        const options = { protocol, csv, fileSize: 1024, dateSeparator: ['none', 'day', 'year'][random(3)]!, workerCount: 1 + random(4) };
        const fault = { at: 1 + random(80), when: random(2) === 0 ? ('before' as const) : ('after' as const) };
        const run = await runSink(round === ROUNDS ? store : new FaultStore(store, fault), sent, options, { checkpointTs, clock });
        if (round === ROUNDS) expect(run.error).toBeNull();
        expect(run.checkpointTs).toBeGreaterThanOrEqual(checkpointTs);
        checkpointTs = run.checkpointTs;
        const metadata = await store.get('metadata');
        if (metadata === null) continue;
        const published = parseMetadata(metadata.toString());
        expect(published).toBeLessThanOrEqual(checkpointTs);
        for (const [name, all] of changes) {
          const upTo = random(2) === 0 ? published : published - BigInt(random(100));
          const expected = all.filter((change) => BigInt(change.split('/')[0]!) <= upTo && !(drops && change.endsWith('T')));
          expect({ round, name, upTo, seen: await read(store, name, upTo) }).toEqual({ round, name, upTo, seen: expected });
        }
      }
    },
  );
});
