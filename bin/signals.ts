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

/** SIGINT and SIGTERM end the reading behind the batch under way; a second one ends the process at once, with 1. */
export function stopOnSignals(): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(1);
    controller.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    signal: controller.signal,
    release: () => {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}
