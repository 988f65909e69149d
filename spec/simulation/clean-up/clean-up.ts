import { isMillraceError, reasonOf } from '../../../lib/errors.ts';
import { definePipeline, type PipelineDefinition, run } from '../../../lib/index.ts';
import type { ObjectStore } from '../../../lib/stores/index.ts';
import {
  type NodeFaults,
  type Range,
  type SimNode,
  SimObjectStore,
  type Simulation,
  type StoreFaults,
} from '../../../lib/testing/index.ts';
import { composeSink, SINK_OPERATORS } from '../../../pipelines/cloud-storage-sink/cloud-storage.ts';
import { SimCheckpoints } from '../capture/sim-checkpoints.ts';
import { CleanedStore } from './cleaned-store.ts';
import { DAY_MS, Days } from './days.ts';
import { beginner, Follower, returner, type Watched } from './readers.ts';
import { RULES, type Rule } from './rules.ts';

/** What a seed decides. */
export interface CleanUpPlan {
  readonly days: number;
  readonly expirationDays: number;
  /** A table that has changes on some days only. */
  readonly isIdle: (day: number) => boolean;
  readonly truncates: (day: number) => boolean;
  readonly storeLatencyMs: Range;
  readonly nodeFaults: NodeFaults;
  /** How far the writer's clock and the database's can be apart. */
  readonly skewMs: number;
  readonly storeFaults: StoreFaults;
  readonly checkpointFails: number;
}

/** What a clean-up and its readers are made of. A mutant replaces one of these. */
export interface CleanUpParts {
  /** Between the sink and its object store. */
  store(store: ObjectStore): ObjectStore;
  /** Between readers and theirs. */
  reading(store: ObjectStore): ObjectStore;
  /** What the sink is told. */
  expirationDays(days: number): number;
}

export const HONEST: CleanUpParts = { store: (store) => store, reading: (store) => store, expirationDays: (days) => days };

/**
 * A sink that cleans up what is older than some days, in a process that goes down, at a store that fails, with readers: those that begin at any moment, one that
 * keeps up, and those that were away.
 */
export async function cleanUp(
  sim: Simulation,
  plan: CleanUpPlan = planOf(sim),
  parts: CleanUpParts = HONEST,
  meddle: (node: SimNode) => void = () => {},
): Promise<void> {
  const broken = (rule: Rule, reason: string) => sim.fail(RULES[rule], reason);
  const node = sim.node('node', { faults: plan.nodeFaults, restartAfterMs: [0, 500] });
  const days = new Days(sim, node);
  const target = new CleanedStore(broken);
  const remote = new SimObjectStore(sim, { latencyMs: plan.storeLatencyMs, faults: plan.storeFaults, objects: target });
  const slow = new SimObjectStore(sim, { name: 'reading', latencyMs: plan.storeLatencyMs, objects: target });
  const checkpoints = new SimCheckpoints(sim, plan.checkpointFails);
  const watched: Watched = {
    sim,
    days,
    target,
    store: parts.reading(slow),
    expirationDays: plan.expirationDays,
    skewMs: plan.skewMs,
    broken,
  };
  const definition = (): PipelineDefinition =>
    definePipeline({
      name: 'cleaned',
      source: days.source,
      sink: composeSink(
        {
          store: parts.store(node.port(remote)),
          ...{ protocol: 'canal-json', dateSeparator: 'day', fileIndexDigit: 6, flushInterval: '200ms', workerCount: 1 },
          ...{ fileExpirationDays: parts.expirationDays(plan.expirationDays), fileCleanupCronSpec: '*/2 * * * * *' },
        },
        SINK_OPERATORS,
      ),
      checkpoint: node.port(checkpoints),
    });
  let isOver = false;
  node.run(async ({ clock }) => {
    while (!isOver) {
      await run(definition(), { clock }).done.catch((error: unknown) => {
        sim.note('supervisor', `the run failed: ${reasonOf(error)}`);
        if (!isMillraceError(error) || !TRANSIENT.has(error.code)) broken('errors', reasonOf(error));
      });
      await clock.sleep(sim.between(10, 100));
    }
  });
  meddle(node);

  const follower = new Follower(watched);
  const reading = beginAgain(sim, watched, () => isOver);
  const away: string[] = [];
  for (let day = 0; day < plan.days; day++) {
    await liveADay(sim, days, plan, day);
    // A reader that keeps up comes every day.
    await follower.read();
    if (day % 2 === 0 && follower.cursor !== null) away.push(follower.cursor);
    for (const one of away) if (sim.chance(0.3)) await returner(watched, one);
    if (day + 1 < plan.days) days.nextDay(sim.between(-plan.skewMs, plan.skewMs));
  }
  sim.calm();
  days.nextDay(0);
  const lastTs = days.insert('users', 1);
  // Only a run that has published something cleans up: it goes on behind whatever broke off.
  const trickling = trickle(sim, days, () => isOver);
  const isClean = () => target.expiredBefore(days.timeOf(target.publishedTs ?? 0n) - plan.expirationDays * DAY_MS).length === 0;
  await sim.eventually(RULES.goesOn, () => (target.publishedTs ?? 0n) >= lastTs && isClean(), 60_000);
  isOver = true;
  await Promise.all([reading, trickling]);
  await follower.read();
  await beginner(watched);
  for (const cursor of away) await returner(watched, cursor);
}

/** Some transactions, spread over some seconds. */
async function liveADay(sim: Simulation, days: Days, plan: CleanUpPlan, day: number): Promise<void> {
  for (let left = sim.between(1, 3); left > 0; left--) {
    await sim.sleep(sim.between(100, 800));
    days.insert('users', sim.between(1, 3));
    if (!plan.isIdle(day)) days.insert('logs', 1);
  }
  if (plan.truncates(day)) days.truncate('users');
  if (plan.skewMs > 0 && sim.chance(0.3)) days.setSkew(sim.between(-plan.skewMs, plan.skewMs));
  // A time of the cron spec comes once at least.
  await sim.sleep(sim.between(3000, 5000));
}

async function trickle(sim: Simulation, days: Days, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    await sim.sleep(3000);
    days.insert('users', 1);
  }
}

async function beginAgain(sim: Simulation, watched: Watched, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    await sim.sleep(sim.between(100, 1500));
    await beginner(watched);
  }
}

/** What a seed decides of it. */
export function planOf(sim: Simulation): CleanUpPlan {
  const some = (chance: number, value: number) => (sim.chance(chance) ? value * (0.5 + sim.random()) : 0);
  const crashes = sim.chance(0.8);
  const idle = sim.between(2, 5);
  const truncated = sim.between(1, 6);
  const skewMs = sim.chance(0.3) ? 20 * 3_600_000 : 0;
  return {
    days: sim.between(5, 9),
    // A reader that keeps up has a day, as its own clock and the writer's go.
    expirationDays: skewMs > 0 ? sim.between(2, 3) : sim.pick([1, 1, 2, 3]),
    isIdle: (day) => day % idle !== 0,
    truncates: (day) => day === truncated,
    storeLatencyMs: sim.pick([
      [0, 0],
      [1, 10],
      [5, 60],
    ] as const),
    nodeFaults: {
      ...(crashes && sim.chance(0.7) ? { crashEveryMs: sim.between(700, 5000) } : {}),
      ...(crashes && sim.chance(0.5) ? { killEveryMs: sim.between(700, 5000) } : {}),
      ...(sim.chance(0.2) ? { pauseEveryMs: sim.between(2000, 6000), pauseMs: [100, 1000] } : {}),
      downMs: [0, 500],
      stall: some(0.3, 0.005),
    },
    skewMs,
    storeFaults: { before: some(0.4, 0.02), after: some(0.4, 0.02), throttled: some(0.2, 0.02), timeout: some(0.2, 0.01) },
    checkpointFails: some(0.2, 0.005),
  };
}

/** What faults explain; the run is begun again. */
const TRANSIENT: ReadonlySet<string> = new Set([
  'MR_SINK_WRITE_FAILED',
  'MR_SINK_FAILED',
  'MR_CHECKPOINT_FAILED',
  'MR_STORE_FAILED',
  'MR_STORE_UNAVAILABLE',
  'MR_FOREIGN_FILE',
  'MR_STALE_EPOCH',
  'MR_ALREADY_RUNNING',
]);
