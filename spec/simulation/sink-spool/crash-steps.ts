import { MillraceError } from '../../../lib/errors.ts';
import { type SimulationResult, simulate } from '../../../lib/testing/index.ts';
import type { SimDatabase, SimWriter } from '../../../lib/testing/simulator/postgres/index.ts';
import { CALM } from '../capture/calm.ts';
import { capture } from '../capture/capture.ts';
import { type CaptureParts, HONEST } from '../capture/parts.ts';
import type { Plan, Script } from '../capture/plan.ts';
import type { Step } from '../enumerated-steps.ts';

export interface StepsRun {
  readonly result: SimulationResult;
  /** Calls that left the process, in all its lives. */
  readonly calls: number;
}

/**
 * One small capture, always the same, in which nothing goes wrong but this: the process is killed once in the midst of it, so that it begins again and everything since
 * the checkpoint comes again; and it goes down at `step`, if there is one. All rules of a capture hold, and in the end no file stands behind its index.
 *
 * @throws MR_SIMULATION_FAILED
 */
export async function runStep(step: Step | null, parts: CaptureParts = HONEST): Promise<StepsRun> {
  let calls = 0;
  const replay = step === null ? 'runStep(null)' : `runStep({ at: ${step.at}, when: '${step.when}', how: '${step.how}' })`;
  const result = await simulate({
    seed: SEED,
    maxSteps: 20_000,
    replay,
    world: async (sim) => {
      let count = () => 0;
      let orphans = () => [] as readonly string[];
      await capture(sim, parts, PLAN, ({ node, target }) => {
        count = () => node.calls;
        orphans = () => target.orphans;
        sim.clock.after(KILLED_AFTER_MS, () => node.kill());
        if (step !== null) node.crashAtCall(step.at, step.when, step.how, true);
      });
      calls = count();
      if (orphans().length > 0) sim.fail('no file stands behind its index in the end', orphans().join(', '));
    },
  });
  return { result, calls };
}

const SEED = 1;
const KILLED_AFTER_MS = 330;

/** Rows of 40 to 1200 bytes in two tables; a schema change and a TRUNCATE between rows of their transactions. */
const SCRIPT: Script = [
  rows(({ insert }) => {
    for (const id of ['1', '2', '3']) insert('users', id);
    insert('orders', '1');
  }),
  rows(({ update, insert, move }) => {
    update('users', '1');
    move('users', '2', '20');
    insert('orders', '2', 400);
  }),
  rows(({ insert, update, remove }) => {
    insert('users', '4', 900);
    update('users', '4');
    remove('users', '4');
    insert('users', '4');
  }),
  rows(({ insert, addColumn }) => {
    insert('users', '5');
    addColumn('users');
    insert('users', '6');
    insert('orders', '3');
  }),
  rows(({ update, remove }) => {
    update('users', '6');
    remove('orders', '1');
  }),
  rows(({ insert, truncate }) => {
    insert('users', '7');
    truncate('users');
    insert('users', '1', 300);
  }),
  rows(({ insert, update }) => {
    for (const id of ['11', '12', '13', '14']) insert('orders', id, 100);
    update('orders', '2');
  }),
  rows(({ insert, update }) => {
    insert('users', '8');
    update('users', '1');
  }),
];

/** All in memory is a row or two; a file on disk holds a few. */
const PLAN: Partial<Plan> = {
  ...CALM,
  script: SCRIPT,
  changesBefore: 0,
  snapshot: 'never',
  unchangedToast: false,
  sink: { protocol: 'canal-json', fileSize: 1500, flushInterval: 150, workerCount: 2, dateSeparator: 'none' },
  memory: { high: 3000, low: 2000 },
  spool: {
    memoryBytes: 500,
    diskQuotaBytes: 4000,
    segmentBytes: 1000,
    capacityBytes: Number.POSITIVE_INFINITY,
    latencyMs: [0, 2],
    faults: {},
  },
  draftBytesMin: 600,
  maxBytesInFlight: 4000,
  maxDeliveryBytes: 500,
  storeLatencyMs: [1, 10],
  rebuilds: 1,
};

interface Hand {
  insert(table: string, id: string, bytes?: number): void;
  update(table: string, id: string): void;
  move(table: string, id: string, to: string): void;
  remove(table: string, id: string): void;
  truncate(table: string): void;
  addColumn(table: string): void;
}

/** One transaction. What it says happens, or there is an error. */
function rows(work: (hand: Hand) => void): Script[number] {
  return { afterMs: 60, commit: (database) => void database.transact((writer) => work(handOf(database, writer))) };
}

function handOf(database: SimDatabase, writer: SimWriter): Hand {
  const of = (name: string) => database.table(`public.${name}`);
  const must = (isDone: boolean) => {
    if (!isDone) throw new MillraceError('MR_INVALID_OPTION', { option: 'script', value: 'a change of a row', bound: 'one that is there' });
  };
  const text = (name: string) => (name === 'users' ? 'email' : 'total');
  return {
    insert: (name, id, bytes = 40) => must(writer.insert(of(name), { id, [text(name)]: `${id}`.padEnd(bytes, '.') })),
    update: (name, id) => must(writer.update(of(name), { id, [text(name)]: `new ${id}` })),
    move: (name, id, to) => must(writer.update(of(name), { id }, { newKey: { id: to } })),
    remove: (name, id) => must(writer.delete(of(name), { id })),
    truncate: (name) => writer.truncate(of(name)),
    addColumn: (name) => writer.addColumn(of(name), 'added', 'before'),
  };
}
