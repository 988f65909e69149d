import type { Clock } from '../../../lib/flow/index.ts';
import type { Disk } from '../../../lib/stores/index.ts';
import { type NodeFaults, SimDisk, type SimProcess, type Simulation } from '../../../lib/testing/index.ts';
import {
  type EventHandler,
  type EventRecorder,
  type EventRecorderOptions,
  eventRecorder,
  type OverflowPolicy,
  type RecorderStatus,
} from '../../../pipelines/index.ts';
import { addsUp } from '../../pipelines/event-recorder/conservation.ts';
import { Target } from './target.ts';

const FOLDER = '/data/events';

/** What stands between the recorder and its world; a mutant replaces some of it. */
export interface RecorderParts {
  /** The policy; null: the seed says. */
  readonly overflow: OverflowPolicy | null;
  readonly handler: (target: EventHandler, clock: Clock) => EventHandler;
  readonly disk: (disk: Disk) => Disk;
}

export const HONEST: RecorderParts = { overflow: null, handler: (target) => target, disk: (disk) => disk };

/**
 * An event recorder with producers that come in bursts, at a target that fails, throws, hangs, is late and lies, in a process that is killed, loses power and stands
 * still, over a disk that does what disks do. At each step every accepted event is in exactly one place (G5); G1, G2, G4, G6, G7 and G8 hold.
 */
export async function recorder(
  sim: Simulation,
  parts: RecorderParts = HONEST,
  seen: (status: RecorderStatus, duplicates: number) => void = () => {},
): Promise<void> {
  const plan = planOf(sim, parts.overflow);
  const node = sim.node('recorder', { faults: plan.nodeFaults });
  const disk = new SimDisk(sim, {
    node,
    latencyMs: [0, 3],
    faults: { fails: 0.004, syncFails: 0.004, full: 0.002, fullMs: [50, 1500], slow: 0.01, slowMs: [20, 600], torn: 0.6 },
  });
  const target = new Target(sim, plan.targetFaults, plan.options.batchEvents, plan.overflow === 'spill');
  /** By id: accepted, and said to be safe by the life that accepted it. */
  const safe = new Set<string>();
  let current: Life | null = null;
  sim.note('world', `policy ${plan.overflow}, ${JSON.stringify(plan.options)}`);
  sim.invariant(
    'G5: accepted = delivered + pending + dropped',
    () => current === null || addsUp(current.recorder.status()) || tell(current),
  );
  sim.invariant('W1: the counts are those of the outcomes', () => current === null || current.agrees() || tell(current));
  sim.invariant(
    'W1: what counts as delivered is at the target',
    () => current === null || current.recorder.status().delivered <= target.takenNow.size || tell(current),
  );
  sim.invariant('C5.41: the queue keeps its bounds', () => current === null || current.isBounded(plan) || tell(current));

  node.run(
    async (process) => {
      target.begin();
      if (current !== null) seen(current.recorder.status(), 0);
      current = null;
      for (;;) {
        const life: Life = await begin(sim, plan, process, target, disk, parts);
        current = life;
        await produce(sim, plan, process, life, target, safe);
        if (life.isQuiet) return;
        const report = await life.recorder.close(sim.between(0, 600));
        target.isClosed = true;
        if (!addsUp(report) || (plan.overflow !== 'spill' && report.pending > 0)) sim.fail('G6: the report of close adds up', tell(life));
        sim.note('recorder', `closes: ${report.delivered} delivered, ${report.pending} pending`);
        await process.clock.sleep(sim.between(0, 100));
        seen(life.recorder.status(), 0);
        current = null;
        target.begin();
      }
    },
    (error) => {
      if (error !== null) node.kill();
    },
  );
  await sim.sleep(plan.durationMs);
  sim.calm();
  // What is still down starts again.
  await sim.sleep(3000);
  node.restart();
  await sim.eventually('the recorder runs', () => current !== null, 20_000);
  await sim.eventually(
    'G1: everything is settled in the end',
    () => current?.isQuiet === true && current.recorder.status().pending === 0,
    600_000,
  );
  const life: Life = current!;
  const report = await life.recorder.close(60_000);
  target.isClosed = true;
  if (!report.isComplete || report.pending !== 0 || !addsUp(report)) sim.fail('G6: the report of close adds up', JSON.stringify(report));
  for (const id of safe) {
    if (!target.taken.has(id) && !target.buried.has(id)) sim.fail('G8: what was safe is delivered', `${id} was not`);
  }
  await sim.sleep(10_000);
  seen(life.recorder.status(), target.duplicates);
}

interface Plan {
  readonly overflow: OverflowPolicy;
  readonly options: ReturnType<typeof optionsOf>;
  readonly durationMs: number;
  readonly nodeFaults: NodeFaults;
  readonly targetFaults: Target['faults'];
}

function planOf(sim: Simulation, asked: OverflowPolicy | null): Plan {
  const drawn = sim.pick<OverflowPolicy>(['dropNewest', 'dropOldest', 'block', 'spill', 'spill']);
  const overflow = asked ?? drawn;
  return {
    overflow,
    options: optionsOf(sim, overflow),
    durationMs: sim.between(3000, 8000),
    nodeFaults: {
      crashEveryMs: sim.between(600, 6000),
      killEveryMs: sim.between(600, 6000),
      downMs: [0, 300],
      pauseEveryMs: sim.between(1000, 9000),
      pauseMs: [10, 1500],
      stall: 0.002,
    },
    targetFaults: {
      fails: sim.pick([0, 0.1, 0.5, 1]),
      throws: sim.pick([0, 0.05]),
      hangs: sim.pick([0, 0.03, 0.1]),
      failsAfter: sim.pick([0, 0.1]),
      slow: sim.pick([0, 0.1]),
    },
  };
}

function optionsOf(sim: Simulation, overflow: OverflowPolicy) {
  const queueEvents = sim.between(5, 60);
  return {
    queueEvents,
    queueBytes: sim.pick([4000, 20_000, 100_000]),
    batchEvents: sim.between(1, 12),
    batchBytes: sim.pick([1000, 100_000]),
    linger: sim.between(1, 400),
    retry: {
      base: sim.between(5, 300),
      cap: sim.between(10, 900),
      retries: sim.between(0, 3),
      jitter: sim.pick([false, 'full'] as const),
      retryable: sim.pick([() => true, () => true, isPassing]),
    },
    handlerTimeout: sim.between(200, 1500),
    abortGrace: sim.between(0, 100),
    whenExhausted:
      overflow === 'spill' ? sim.pick(['keep', 'keep', 'deadLetter'] as const) : sim.pick(['keep', 'drop', 'deadLetter'] as const),
    lossSummary: sim.pick([false, 300, 2000] as const),
    segment: sim.pick([1024, 8000, 100_000]),
    quota: sim.pick([20_000, 1_000_000]),
  };
}

/** W11: what a target that is down refuses is refused for good, where this is asked. */
function isPassing(error: unknown): boolean {
  return !String(error).includes('target is down');
}

/** One life of the process, and what its producers heard. */
class Life {
  calls = 0;
  accepted = 0;
  /** Calls of `record` whose promise is open. */
  open = 0;
  isQuiet = false;

  constructor(readonly recorder: EventRecorder) {}

  agrees(): boolean {
    const { recorded, accepted, replayed } = this.recorder.status();
    const summaries = recorded - this.calls;
    const told = this.accepted + this.open;
    return summaries >= 0 && accepted - replayed - summaries >= this.accepted && accepted - replayed - summaries <= told;
  }

  isBounded({ overflow, options }: Plan): boolean {
    const { queueEvents, queueBytes } = this.recorder.status();
    const times = overflow === 'block' || overflow === 'spill' ? 2 : 1;
    // One loss summary passes the bounds.
    return queueEvents <= options.queueEvents * times + 1 && queueBytes <= options.queueBytes * times + 1500;
  }
}

async function begin(sim: Simulation, plan: Plan, process: SimProcess, target: Target, disk: SimDisk, parts: RecorderParts): Promise<Life> {
  const { segment, quota, ...options } = plan.options;
  const outside = process.port(target);
  const handler = parts.handler(outside, process.clock);
  const spill = plan.overflow === 'spill' ? { spill: { folder: FOLDER, segment, quota, disk: parts.disk(process.port(disk)) } } : {};
  const all: EventRecorderOptions = { ...options, ...spill, overflow: plan.overflow, handler, deadLetters: outside };
  const recorder = await eventRecorder(all).open({ clock: process.clock });
  sim.note('recorder', `opens, ${recorder.status().replayed} events again`);
  return new Life(recorder);
}

async function produce(sim: Simulation, plan: Plan, process: SimProcess, life: Life, target: Target, safe: Set<string>): Promise<void> {
  let n = 0;
  while (!sim.isCalm) {
    if (sim.fault(0.03)) return;
    await process.clock.sleep(sim.between(0, 120));
    for (let left = sim.between(0, 15); left > 0; left--) {
      const id = await record(sim, life, target, ++n, plan.overflow === 'block' && sim.chance(0.5));
      if (id === null || !sim.chance(0.2) || plan.overflow !== 'spill') continue;
      void life.recorder.safe().then(
        process.guard((isSafe) => {
          if (isSafe) safe.add(id);
        }),
      );
    }
  }
  life.isQuiet = true;
}

/** Records one event, and changes it afterwards. The id, if it was accepted and that is known already. */
async function record(sim: Simulation, life: Life, target: Target, n: number, waits: boolean): Promise<string | null> {
  const payload: Record<string, unknown> = { n, isPoison: sim.chance(0.03), text: 'x'.repeat(sim.between(0, 300)) };
  const text = JSON.stringify(payload);
  const table = sim.chance(0.2) ? 'other' : undefined;
  life.calls++;
  const outcome = life.recorder.record({ type: sim.pick(['a', 'b', 'c']), payload, ...(table === undefined ? {} : { table }) });
  payload['n'] = -1;
  if (!('then' in outcome)) return heard(outcome);
  life.open++;
  const later = outcome.then((known) => {
    life.open--;
    return heard(known);
  });
  return waits ? later : null;

  function heard(known: Awaited<typeof outcome>): string | null {
    if (!known.accepted) return null;
    life.accepted++;
    target.told.set(known.id, text);
    return known.id;
  }
}

function tell(life: Life): string {
  const { calls, accepted, open } = life;
  return JSON.stringify({ ...life.recorder.status(), calls, outcomes: accepted, open });
}
