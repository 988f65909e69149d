import { reasonOf } from '../../errors.ts';
import { requireNumber } from '../../flow/index.ts';
import { eachTurn, type Turn, waitingOutside } from './settle.ts';
import { Simulation } from './simulation.ts';
import { timelineOf } from './timeline.ts';
import type { Trace } from './trace.ts';

export interface SimulateOptions {
  /** From 0 up to 4294967295. Everything random of the run comes from it: the same seed gives the same run, step by step. */
  readonly seed: number;
  /** Builds the world and lives in it; the simulation ends when it does. It runs on `sim.clock`, and may wait for nothing else. */
  readonly world: (sim: Simulation) => Promise<void> | void;
  /** Default 1 000 000. */
  readonly maxSteps?: number;
  /** Virtual time at most, in ms. Default one day. */
  readonly maxMs?: number;
  /** How a failing seed is replayed, as its error says it. Default: this seed given to `simulate`. */
  readonly replay?: string;
  /** Lines of the timeline in the error. Default 40. */
  readonly timelineLines?: number;
}

export interface SimulationResult {
  readonly seed: number;
  /** Over everything that was told, the time of each step and how many lots were drawn: equal for equal runs. */
  readonly hash: string;
  readonly steps: number;
  readonly virtualMs: number;
  readonly trace: Trace;
}

/**
 * Runs a world of nodes, stores, disks and links in virtual time, faults included, and checks what must hold after each step.
 *
 * A step is one timer or one answer that is due; everything that it sets off with promises, `process.nextTick` and `setImmediate` runs before the next.
 *
 * @throws MR_INVALID_OPTION for a seed out of bounds; MR_SIMULATION_FAILED with the seed, what did not hold and when, a timeline, and the command that replays it.
 */
export async function simulate(options: SimulateOptions): Promise<SimulationResult> {
  const { seed, world, maxSteps = 1_000_000, maxMs = DAY_MS, replay = `simulate({ seed: ${seed}, … })`, timelineLines = 40 } = options;
  const sim = new Simulation(requireNumber('seed', seed, 0, 0xffff_ffff));
  let isBegun = false;
  let isDone = false;
  let steps = 0;
  const turn = ({ leak, isEndless }: Turn) => {
    if (leak !== null) sim.fail('nothing leaves the simulation', reasonOf(leak.error), leak.error);
    if (!isBegun) {
      isBegun = true;
      live(sim, world).then(() => {
        isDone = true;
      });
      return false;
    }
    if (isEndless) sim.fail('the world goes on', ENDLESS);
    // Whoever waited for it goes on before the next step.
    if (sim.check()) return false;
    if (isDone || sim.failure !== null) return true;
    const nextMs = sim.clock.nextMs;
    if (nextMs === null) sim.fail('the world goes on', stalled());
    else if (nextMs > maxMs) sim.fail('the world ends', `it has not, in ${maxMs} ms`);
    else if (steps >= maxSteps) sim.fail('the world ends', `it has not, in ${maxSteps} steps`);
    else {
      steps++;
      step(sim);
    }
    return false;
  };
  await eachTurn(turn, () => sim.clock.now());
  sim.trace.mark(sim.random());
  sim.close();
  if (sim.failure !== null) throw sim.error(sim.failure, steps, timelineOf(sim.trace, timelineLines), replay);
  return { seed, hash: sim.trace.hash, steps, virtualMs: sim.clock.now(), trace: sim.trace };
}

const DAY_MS = 86_400_000;
const ENDLESS = 'each setImmediate asks for another, and no time passes: wait on the clock instead, if only for 0 ms';
const STALLED = 'it waits, and nothing is on its clock: it awaits something outside, or something that is lost';

function stalled(): string {
  const outside = waitingOutside();
  return outside.length === 0 ? STALLED : `${STALLED} (outside of it wait ${outside.join(', ')})`;
}

function step(sim: Simulation): void {
  try {
    sim.clock.step();
    sim.trace.mark(sim.clock.now());
  } catch (error) {
    sim.fail('nothing throws in a timer', reasonOf(error), error);
  }
}

async function live(sim: Simulation, world: SimulateOptions['world']): Promise<void> {
  try {
    await world(sim);
  } catch (error) {
    sim.fail('the world does not fail', reasonOf(error), error);
  }
}
