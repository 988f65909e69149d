import type { Plan } from './plan.ts';

const MIB = 1024 * 1024;

/**
 * What makes a plan one run of a capture in which nothing goes wrong: 300 changes of PostgreSQL's and the rows that were there before, through every part, with
 * every rule held against each step and all of it read back at the end. The sink's options and the bounds of memory are the defaults; the rest is the seed's.
 */
export const CALM: Partial<Plan> = {
  origin: 'postgres',
  // Not one TRUNCATE and one ADD COLUMN a run; the scenario with faults has several of each.
  weights: { truncate: 1, truncateTwice: 0, addColumn: 1 },
  dropped: null,
  sink: { protocol: 'canal-json' },
  memory: { high: 64 * MIB, low: Math.floor(0.7 * 64 * MIB) },
  draftBytesMin: null,
  maxBytesInFlight: 8 * MIB,
  maxDeliveryBytes: MIB,
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
