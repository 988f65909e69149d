import type { CheckpointStore, Sink, Source, Stage } from '../../../lib/index.ts';
import type { Disk, ObjectStore } from '../../../lib/stores/index.ts';
import type { SimPostgresParts } from '../../../lib/testing/simulator/postgres/index.ts';
import { checkSequence, dedupeCommitTs, filterEpoch } from '../../../operators/index.ts';
import { SINK_OPERATORS } from '../../../pipelines/cloud-storage-sink/cloud-storage.ts';

/** What a capture is made of. A mutant puts a broken one in the place of one of these. */
export interface CaptureParts {
  /** The operators of the sink. */
  readonly operators: typeof SINK_OPERATORS;
  /** What puts the events of sessions in order. */
  readonly ordering: typeof ORDERING;
  readonly postgres: Partial<SimPostgresParts>;
  /** Between the run and … */
  source(source: Source): Source;
  checkpoint(store: CheckpointStore): CheckpointStore;
  sink(sink: Sink): Sink;
  /** Between the sink and its object store. */
  store(store: ObjectStore): ObjectStore;
  /** Between the checkpoint file and its disk. */
  disk(disk: Disk): Disk;
  /** Between the spool and its own. */
  spoolDisk(disk: Disk): Disk;
  stages(stages: readonly Stage[]): readonly Stage[];
}

const ORDERING = { filterEpoch, checkSequence, dedupeCommitTs };

/** The parts of production. */
export const HONEST: CaptureParts = {
  operators: SINK_OPERATORS,
  ordering: ORDERING,
  postgres: {},
  source: (source) => source,
  checkpoint: (store) => store,
  sink: (sink) => sink,
  store: (store) => store,
  disk: (disk) => disk,
  spoolDisk: (disk) => disk,
  stages: (stages) => stages,
};
