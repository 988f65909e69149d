import type { Plan } from './plan.ts';

/**
 * What makes a plan one run of a capture in which nothing goes wrong: 300 changes of PostgreSQL's and the rows that were there before, through every part, with
 * every rule held against each step and all of it read back at the end. Formats, latencies and the bounds of memory are the seed's.
 */
export const CALM: Partial<Plan> = {
  origin: 'postgres',
  // Not one TRUNCATE and one ADD COLUMN a run; the scenario with faults has several of each.
  weights: { truncate: 1, truncateTwice: 0, addColumn: 1 },
  dropped: null,
  checkpointOnDisk: false,
  nodeFaults: {},
  storeFaults: {},
  storeStallMs: 0,
  diskFaults: {},
  serverFaults: {},
  sessionFaults: {},
  stops: 0,
  serverTroubleEveryMs: 0,
  losesSlot: false,
  rebuilds: 0,
  reads: 0,
};
