import type { JsonValue } from '../formats/json.ts';

/** What one pipeline remembers between runs. */
export interface Checkpoint {
  /** Everything up to this commitTs is durable at the target; null while the first snapshot is not complete. */
  readonly checkpointTs: bigint | null;
  /** What the source asked to remember (`SourceContext.saveState`). */
  readonly sourceState: JsonValue | null;
}

/**
 * A port: keeps one checkpoint for each pipeline. A save is atomic and durable when its promise resolves. Integers come back as `parseJson` gives
 * them: a bigint below 2^53 in the source state as a number.
 */
export interface CheckpointStore {
  readonly name: string;
  /** Null when this pipeline has never saved one. */
  load(pipeline: string): Promise<Checkpoint | null>;
  save(pipeline: string, checkpoint: Checkpoint): Promise<void>;
  /** Lets go of what `load` took (a lock) for this pipeline, or for all; the store can be loaded again afterwards. Called at the end of each run. */
  close?(pipeline?: string): Promise<void>;
}
