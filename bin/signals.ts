import type { Running } from '../lib/index.ts';
import type { Output } from './output.ts';

/** SIGINT and SIGTERM drain the run; a second one ends the process at once, with 1. Returns a function that lets go of the signals. */
export function drainOnSignals(running: Running, output: Output): () => void {
  let isAsked = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (isAsked) process.exit(1);
    isAsked = true;
    output.say('stopping: flushing what was accepted; once more to stop at once', { signal });
    // Whoever waits for `done` hears of a failure.
    running.stop({ drain: true }).catch(() => {});
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return () => {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  };
}
