import { MillraceError } from '../errors.ts';
import type { CheckpointStore } from './checkpoint.ts';

/** A run's place in a checkpoint store. */
export interface Place {
  /** The run has ended, and its store has yet to close: it may still be storing. */
  leave(): void;
  /** The store is closed: the next run may have it. */
  giveBack(): void;
}

/** The pipelines that have a place now, and what they do there, by where they keep their checkpoint. */
const taken = new WeakMap<CheckpointStore, Map<string, string>>();

const RUNS = 'runs in this process already';
const LEAVES = 'has ended in this process, but its checkpoint store has not closed yet';

/**
 * Takes a pipeline's place in a checkpoint store for one run: two runs that share it would each store over the other's checkpoint. A store's own lock keeps
 * other processes and other stores away, but cannot tell two runs that use the same store.
 *
 * A run whose store stalls keeps it beyond its own end: the save in flight could come to its end over what the next run has stored.
 *
 * @throws MR_ALREADY_RUNNING
 */
export function takePlace(store: CheckpointStore, pipeline: string): Place {
  const pipelines = taken.get(store) ?? new Map<string, string>();
  taken.set(store, pipelines);
  const state = pipelines.get(pipeline);
  if (state !== undefined) throw new MillraceError('MR_ALREADY_RUNNING', { pipeline, state, where: store.name });
  pipelines.set(pipeline, RUNS);
  return {
    leave: () => void pipelines.set(pipeline, LEAVES),
    giveBack: () => void pipelines.delete(pipeline),
  };
}
