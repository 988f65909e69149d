import { run } from '../../lib/index.ts';
import { shopPipeline } from './pipeline.ts';

// The capturing process: main.ts starts it, kills it half-way, and starts it again. `process.send` tells main.ts how it goes.
const [url, outDir, stateDir] = process.argv.slice(2) as [string, string, string];
const running = run(shopPipeline(url, outDir, stateDir));
running.status$.subscribe({
  next: ({ phase, rows, rowsPerSecond, lagMs, checkpointTs }) => process.send?.({ phase, rows, rowsPerSecond, lagMs, checkpointTs }),
  error: () => {},
});
process.on('SIGTERM', () => void running.stop({ drain: true }));
try {
  await running.done;
  process.exit(0);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
