import type { DiskFaults, NodeFaults, Range, Simulation, StoreFaults } from '../../../lib/testing/index.ts';
import type { SimDatabase, SimPostgresFaults, WorkloadWeights } from '../../../lib/testing/simulator/postgres/index.ts';
import type { SimSessionFaults } from '../../../lib/testing/simulator/session/index.ts';
import type { CloudStorageOptions } from '../../../pipelines/index.ts';

/** What a seed decides before anything happens. */
export interface Plan {
  readonly origin: 'postgres' | 'session';
  readonly changes: number;
  /** Longest pause between two bursts of transactions. */
  readonly gapMs: number;
  /** Changes that are there before the capture begins. */
  readonly changesBefore: number;
  readonly snapshot: 'initial' | 'never';
  readonly unchangedToast: boolean;
  /** Transactions one after another, in the place of random ones. */
  readonly script: Script | null;
  /** How often each kind of transaction comes; what is left out is as in `Workload`. */
  readonly weights: Partial<WorkloadWeights>;
  /** A table that a stage drops; null for none. */
  readonly dropped: string | null;
  readonly sink: Omit<CloudStorageOptions, 'store' | 'uri'>;
  /** The watermarks of the sink, scaled to what the scenario sends. */
  readonly memory: { readonly high: number; readonly low: number };
  /** From so many bytes on a file is begun while its rows are gathered; null: as by default, which none of these files reaches. */
  readonly draftBytesMin: number | null;
  /** Where rows of the sink wait beyond what stays in memory; null: all of them in memory. */
  readonly spool: SpoolPlan | null;
  readonly maxBytesInFlight: number;
  readonly maxDeliveryBytes: number;
  /** On a disk; else in a store that keeps what it was given. */
  readonly checkpointOnDisk: boolean;
  readonly storeLatencyMs: Range;
  readonly nodeFaults: NodeFaults;
  readonly storeFaults: StoreFaults;
  /** Once, the store answers no write for so long; 0 for never. */
  readonly storeStallMs: number;
  readonly diskFaults: DiskFaults;
  readonly serverFaults: SimPostgresFaults;
  readonly sessionFaults: SimSessionFaults;
  /** The chance that a run is stopped after a while and begun again. */
  readonly stops: number;
  /** About how often something befalls the server; 0 for never. */
  readonly serverTroubleEveryMs: number;
  /** In the end the slot is gone, or its WAL: what was not captured then can never be. */
  readonly losesSlot: boolean;
  /** The chance that the rows are rebuilt at the end. */
  readonly rebuilds: number;
  /** The chance that a reader looks at the target when the node goes down. */
  readonly reads: number;
}

/** What is committed, each so many ms behind the one before. */
export type Script = readonly { readonly afterMs: number; commit(database: SimDatabase): void }[];

/** A spool, and the disk that it is on. */
export interface SpoolPlan {
  readonly memoryBytes: number;
  readonly diskQuotaBytes: number;
  readonly segmentBytes: number;
  /** Room on the disk, whatever the quota says. */
  readonly capacityBytes: number;
  readonly latencyMs: Range;
  readonly faults: DiskFaults;
}

/** Each kind of fault is there in some seeds and not in others: bugs hide behind the faults of other kinds. */
export function planOf(sim: Simulation): Plan {
  const isSession = sim.chance(0.2);
  const some = (chance: number, value: number) => (sim.chance(chance) ? value * (0.5 + sim.random()) : 0);
  const isCsv = sim.chance(0.4);
  const high = sim.between(1500, 8000);
  const crashes = sim.chance(0.6);
  return {
    origin: isSession ? 'session' : 'postgres',
    changes: 300,
    gapMs: sim.pick([60, 150, 300]),
    changesBefore: sim.chance(0.7) ? sim.between(0, 40) : 0,
    snapshot: sim.chance(0.8) ? 'initial' : 'never',
    unchangedToast: !isCsv && sim.chance(0.5),
    script: null,
    weights: {},
    dropped: !isSession && sim.chance(0.3) ? 'shop.items' : null,
    sink: {
      protocol: isCsv ? 'csv' : 'canal-json',
      fileSize: sim.pick([1024, 4096, 65_536]),
      flushInterval: sim.pick([100, 300, 1000]),
      workerCount: sim.between(1, 3),
      dateSeparator: sim.pick(['none', 'none', 'day', 'month']),
      ...(isCsv
        ? { csv: { outputOldValue: sim.chance(0.4), outputFieldHeader: sim.chance(0.4) } }
        : { outputRawChangeEvent: sim.chance(0.2) }),
    },
    memory: { high, low: Math.floor(high * 0.7) },
    spool: null,
    maxBytesInFlight: sim.pick([2000, 16_000, 8 * 1024 * 1024]),
    maxDeliveryBytes: sim.pick([500, 3000, 1024 * 1024]),
    checkpointOnDisk: sim.chance(0.25),
    storeLatencyMs: sim.pick([
      [0, 0],
      [1, 10],
      [1, 10],
      [5, 80],
    ] as const),
    nodeFaults: {
      ...(crashes && sim.chance(0.7) ? { crashEveryMs: sim.between(500, 3000) } : {}),
      ...(crashes && sim.chance(0.5) ? { killEveryMs: sim.between(500, 4000) } : {}),
      ...(sim.chance(0.2) ? { pauseEveryMs: sim.between(1000, 4000), pauseMs: [100, 15_000] } : {}),
      downMs: [0, 500],
      stall: some(0.3, 0.005),
      skewMs: sim.chance(0.3) ? 86_400_000 : 0,
    },
    storeFaults: {
      before: some(0.4, 0.02),
      after: some(0.4, 0.02),
      throttled: some(0.2, 0.02),
      timeout: some(0.2, 0.01),
    },
    storeStallMs: sim.chance(0.1) ? sim.between(3000, 30_000) : 0,
    diskFaults: { fails: some(0.2, 0.005), syncFails: some(0.2, 0.005), full: some(0.2, 0.005), slow: some(0.2, 0.02) },
    serverFaults: {
      refuses: some(0.3, 0.2),
      breaks: some(0.4, 0.5),
      breaksAfterBytes: sim.pick([500, 5000, 20_000]),
      silent: some(0.3, 0.3),
      stalls: some(0.2, 0.3),
    },
    sessionFaults: { loses: some(0.4, 0.03), repeats: some(0.4, 0.03), drops: some(0.3, 0.02), delays: some(0.4, 0.05) },
    stops: some(0.2, 0.7),
    serverTroubleEveryMs: sim.chance(0.25) ? sim.between(500, 4000) : 0,
    losesSlot: !isSession && sim.chance(0.04),
    rebuilds: 0.3,
    reads: 0.1,
    draftBytesMin: sim.pick([null, 1, 300, 1000]),
  };
}
