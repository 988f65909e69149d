import type { Simulation } from '../../../lib/testing/index.ts';
import type { Plan } from '../capture/plan.ts';

/**
 * What a seed decides of a capture whose sink has little memory: most rows go to a disk that crashes, fills up, is slow, fails, and gives back what nobody wrote. The
 * rest is as any capture has it.
 */
export function spoolPlanOf(sim: Simulation): Partial<Plan> {
  const some = (chance: number, value: number) => (sim.chance(chance) ? value * (0.5 + sim.random()) : 0);
  const diskQuotaBytes = sim.pick([1500, 4000, 20_000]);
  const high = Math.floor(diskQuotaBytes * (0.4 + 0.5 * sim.random()));
  return {
    memory: { high, low: Math.floor(high * (0.3 + 0.6 * sim.random())) },
    spool: {
      memoryBytes: sim.pick([1, 1, 400, 1500]),
      diskQuotaBytes,
      segmentBytes: sim.pick([300, 1000, 5000]),
      capacityBytes: sim.chance(0.2) ? sim.between(200, 3000) : Number.POSITIVE_INFINITY,
      latencyMs: sim.pick([
        [0, 0],
        [0, 2],
        [1, 20],
      ] as const),
      faults: {
        slow: some(0.3, 0.03),
        slowMs: [10, 1000],
        full: some(0.3, 0.03),
        fails: some(0.3, 0.01),
        syncFails: some(0.1, 0.005),
        corrupts: some(0.25, 0.04),
      },
    },
    storeLatencyMs: sim.pick([
      [0, 0],
      [1, 10],
      [5, 80],
      [50, 300],
    ] as const),
  };
}
