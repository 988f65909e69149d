import type { Simulation } from '../../lib/testing/index.ts';
import { capture } from './capture/capture.ts';
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
  'write-ahead-log': {
    about: 'A counter over a log file on a disk that crashes, tears and fills up: what was acknowledged is there after each restart.',
    world: (sim) => writeAheadLog(sim),
  },
};
