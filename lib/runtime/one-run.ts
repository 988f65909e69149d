import { MillraceError } from '../errors.ts';
import type { CheckpointStore } from './checkpoint.ts';

/** The pipelines that run now, by where they keep their checkpoint. */
const running = new WeakMap<CheckpointStore, Set<string>>();

/**
 * Takes a pipeline's place in a checkpoint store for one run: two runs that share it would each store over the other's checkpoint. A store's own lock keeps
 * other processes and other stores away, but cannot tell two runs that use the same store.
 *
 * @returns a function that gives the place back.
 * @throws MR_ALREADY_RUNNING
 */
export function takePlace(store: CheckpointStore, pipeline: string): () => void {
  const pipelines = running.get(store) ?? new Set();
  running.set(store, pipelines);
  if (pipelines.has(pipeline)) throw new MillraceError('MR_ALREADY_RUNNING', { pipeline, where: store.name });
  pipelines.add(pipeline);
  return () => void pipelines.delete(pipeline);
}
