import { isMillraceError, reasonOf } from '../../../../../lib/errors.ts';
import { fateOf } from '../../../../../lib/sources/postgres/stream-fate.ts';
import { type SimNode, type Simulation, type SimulationResult, simulate } from '../../../../../lib/testing/simulator/index.ts';
import {
  SimDatabase,
  type SimPostgresFaults,
  type SimPostgresOptions,
  type SimPostgresSource,
  SimServer,
  type SimServerOptions,
  simPostgres,
  Workload,
  type WorkloadOptions,
} from '../../../../../lib/testing/simulator/postgres/index.ts';
import { Durable, differences, isCaughtUp, reads } from './reading-node.ts';

export interface WorldParts {
  readonly sim: Simulation;
  readonly database: SimDatabase;
  readonly server: SimServer;
  readonly workload: Workload;
  readonly source: SimPostgresSource;
  readonly node: SimNode;
  readonly durable: Durable;
}

export interface WorldOptions {
  readonly seed: number;
  readonly faults?: SimPostgresFaults;
  readonly fateOf?: NonNullable<SimServerOptions['fateOf']>;
  readonly crashEveryMs?: number;
  readonly source?: Partial<SimPostgresOptions>;
  readonly workload?: Partial<WorkloadOptions>;
  readonly changes?: number;
  readonly gapMs?: number;
  /** Between two bursts of changes, now and then. */
  readonly disturb?: (parts: WorldParts) => void;
  /** Where the reader is to begin, without a snapshot. */
  readonly fromSlot?: boolean;
}

/** A database that changes while a node reads it, faults until the last change; then everything must have come, as the oracle knows it. */
export async function readEverything(options: WorldOptions): Promise<SimulationResult & { readonly parts: WorldParts }> {
  let made: WorldParts | null = null;
  const result = await simulate({
    seed: options.seed,
    maxMs: 3_600_000,
    world: async (sim) => {
      made = makeWorld(sim, options);
      const { server, node, durable, database, source, workload } = made;
      const { changes = 300, gapMs = 40, disturb } = options;
      const slot = options.fromSlot === true ? server.slots.create('millrace') : null;
      for (let part = 0; part < 5; part++) {
        await workload.run(sim.clock, { changes: changes / 5, gapMs });
        disturb?.(made);
      }
      sim.calm();
      node.restart();
      await sim.eventually('everything is read', () => isCaughtUp(server, durable) || durable.failure !== null, 300_000);
      if (durable.failure !== null) throw durable.failure;
      const found = [...differences(database, source, durable, slot?.consistentPoint), ...server.violations];
      if (found.length > 0) sim.fail('what is read is what was committed', found.join('\n'));
    },
  });
  return { ...result, parts: made! };
}

function makeWorld(sim: Simulation, options: WorldOptions): WorldParts {
  const { faults = {}, fateOf: linkFateOf = () => null, crashEveryMs } = options;
  const random = () => sim.random();
  const database = new SimDatabase({ random, now: () => sim.clock.now() });
  const server = new SimServer({ database, clock: sim.clock, sim, random, faults, fateOf: linkFateOf });
  const workload = new Workload(database, { random, ...options.workload });
  for (let i = 0; i < 5; i++) workload.next();
  const source = simPostgres({ server, ...options.source });
  const down = { restartAfterMs: [0, 300] as const };
  const node = sim.node('reader', crashEveryMs === undefined ? down : { ...down, faults: { crashEveryMs, killEveryMs: crashEveryMs * 2 } });
  server.attach(node);
  const durable = new Durable();
  node.run(reads(sim, source, durable), (error) => {
    // What a supervisor starts again after, and what it does not.
    if (fateOf(error, { slot: 'millrace', publication: 'millrace' }).kind === 'retry') node.kill();
    else durable.failure = error;
  });
  return { sim, database, server, workload, source, node, durable };
}

/** How the world ended: `fine`, or what did not hold, or the code of the error that ended it. */
export async function outcomeOf(options: WorldOptions): Promise<string> {
  try {
    await readEverything(options);
    return 'fine';
  } catch (error) {
    if (!isMillraceError(error, 'MR_SIMULATION_FAILED')) return reasonOf(error);
    return isMillraceError(error.cause) ? error.cause.code : String(error.details['invariant']);
  }
}
