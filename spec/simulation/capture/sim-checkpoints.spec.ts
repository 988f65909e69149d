import { describe, it } from '@jest/globals';
import { describeCheckpointStore } from '../../../lib/testing/checkpoint-store-suite.ts';
import { type Simulation, simulate } from '../../../lib/testing/index.ts';
import { SimCheckpoints } from './sim-checkpoints.ts';

const SEEDS = 20;

/** Of the test that runs. */
let world: Simulation;

describeCheckpointStore(
  'simulated, whose answers take a while',
  async () => {
    const store = new SimCheckpoints(world, 0);
    return { store, again: async () => store, close: async () => {} };
  },
  {
    describe,
    it: (title, body) =>
      it(title, async () => {
        for (let seed = 1; seed <= SEEDS; seed++) {
          await simulate({
            seed,
            world: async (sim) => {
              world = sim;
              await body();
            },
          });
        }
      }),
  },
);
