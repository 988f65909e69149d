import { setTimeout as passForReal } from 'node:timers/promises';
import { VirtualTimeScheduler } from 'rxjs';
import { clockOf, systemClock } from '../../../lib/flow/index.ts';
import { describeClock, Simulation, VirtualClock } from '../../../lib/testing/index.ts';

describeClock('of this machine', async () => ({
  clock: systemClock,
  // In turns, so that where the machine is busy what is late comes before the next one ends.
  pass: async (ms) => {
    for (let turn = 0; turn < 8; turn++) await passForReal(ms / 8 + 5);
  },
}));

describeClock('virtual', async () => {
  const clock = new VirtualClock();
  return { clock, pass: (ms) => clock.advance(ms) };
});

describeClock('of a scheduler of RxJS, as eventMarbles has it', async () => {
  const scheduler = new VirtualTimeScheduler();
  const pass = async (ms: number) => {
    scheduler.maxFrames = scheduler.frame + ms;
    scheduler.schedule(() => {}, ms);
    scheduler.flush();
  };
  return { clock: clockOf(scheduler), pass };
});

describeClock('of a process in the simulator', async () => {
  const world = new Simulation(1);
  const node = world.node('node');
  node.run(() => {});
  return { clock: node.clock, pass: (ms) => world.clock.advance(ms) };
});
