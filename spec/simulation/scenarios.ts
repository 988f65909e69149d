import type { Simulation } from '../../lib/testing/index.ts';
import { CALM } from './capture/calm.ts';
import { capture } from './capture/capture.ts';
import { HONEST } from './capture/parts.ts';
import { cleanUp } from './clean-up/clean-up.ts';
import { recorder } from './recorder/recorder.ts';
import { spoolPlanOf } from './sink-spool/spool-plan.ts';
import { writeAheadLog } from './write-ahead-log.ts';

/** A world that `npm run simulate` knows by name. */
export interface Scenario {
  /** One sentence: what it is and what must hold. */
  readonly about: string;
  /** Builds the world of one seed and lives in it. */
  readonly world: (sim: Simulation) => Promise<void> | void;
  /** As in `simulate`. */
  readonly maxSteps?: number;
  readonly maxMs?: number;
}

/** Later issues add theirs. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  capture: {
    about:
      'A capture from end to end on one node under every fault: nothing committed is lost, none comes twice to a reader, I1 to I10 hold.',
    world: (sim) => capture(sim),
  },
  'capture-calm': {
    about: 'The same where nothing goes wrong, in one run of about 300 changes: what a run of a simulation costs.',
    world: (sim) => capture(sim, HONEST, CALM),
  },
  'clean-up': {
    about:
      'A target that is cleaned up while it is written and read, in a process that crashes: nothing that has not expired is lost, and readers are told of the rest.',
    world: (sim) => cleanUp(sim),
  },
  'event-recorder': {
    about:
      'An event recorder at a target that fails, hangs and lies, in a process that crashes: every event is accounted for at each step.',
    world: (sim) => recorder(sim),
  },
  'sink-spool': {
    about:
      'A capture whose rows wait on a disk that crashes, is full, slow, fails and lies: the same holds, and the spool keeps to its quota and leaves nothing behind.',
    world: (sim) => capture(sim, HONEST, spoolPlanOf(sim)),
  },
  'write-ahead-log': {
    about: 'A counter over a log file on a disk that crashes, tears and fills up: what was acknowledged is there after each restart.',
    world: (sim) => writeAheadLog(sim),
  },
};
