import { parseJson, stringifyJson } from '../formats/json.ts';
import type { Checkpoint, CheckpointStore } from './checkpoint.ts';

/** Keeps checkpoints in memory: for tests, and for pipelines that need not survive their process. */
export function memoryCheckpoint(): CheckpointStore {
  const saved = new Map<string, { readonly checkpointTs: bigint | null; readonly sourceState: string }>();
  return {
    name: 'memory',
    load: async (pipeline) => {
      const found = saved.get(pipeline);
      return found === undefined ? null : { checkpointTs: found.checkpointTs, sourceState: parseJson(found.sourceState) };
    },
    // The state goes through text, as it does in a file: what comes back is a copy, with the same numbers.
    save: async (pipeline, { checkpointTs, sourceState }: Checkpoint) => {
      saved.set(pipeline, { checkpointTs, sourceState: stringifyJson(sourceState) });
    },
    close: async () => {},
  };
}
