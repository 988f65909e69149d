import { describe, expect, it } from '@jest/globals';
import { SimDisk, SimNetwork, SimObjectStore, Simulation, simulate } from '../../../../lib/testing/index.ts';

describe('what a simulation is told', () => {
  const sim = () => new Simulation(1);

  it.each<[string, () => unknown, { option: string; value: string }]>([
    ['a chance above 1', () => new SimDisk(sim(), { faults: { slow: 2 } }), { option: 'faults.slow', value: '2' }],
    ['a chance below 0', () => new SimObjectStore(sim(), { faults: { before: -0.1 } }), { option: 'faults.before', value: '-0.1' }],
    ['a chance that is none', () => new SimNetwork(sim(), { faults: { loss: Number.NaN } }), { option: 'faults.loss', value: 'NaN' }],
    ['a time below 0', () => sim().node('n', { faults: { crashEveryMs: -1 } }), { option: 'faults.crashEveryMs', value: '-1' }],
    ['a range from high to low', () => sim().node('n', { faults: { pauseMs: [9, 1] } }), { option: 'faults.pauseMs', value: '[9,1]' }],
    ['a latency below 0', () => new SimDisk(sim(), { latencyMs: [-1, 1] }), { option: 'latencyMs', value: '[-1,1]' }],
    ['latencies from high to low', () => new SimNetwork(sim(), { latencyMs: [5, 1] }), { option: 'latencyMs', value: '[5,1]' }],
    ['a restart in the past', () => sim().node('n', { restartAfterMs: [-5, 0] }), { option: 'restartAfterMs', value: '[-5,0]' }],
  ])('refuses %s, and says which', (_, make, details) => {
    expect(make).toThrow(expect.objectContaining({ code: 'MR_INVALID_OPTION', details: expect.objectContaining(details) }));
  });

  it.each([-1, 0.5, 2 ** 32])('refuses seed %p: it would be another one', async (seed) => {
    await expect(simulate({ seed, world: () => {} })).rejects.toMatchObject({ code: 'MR_INVALID_OPTION', details: { option: 'seed' } });
  });
});
