export { tableMatcher } from '../lib/events/index.ts';
export { compose, type Operator, operator, type Stage } from '../lib/flow/index.ts';
export { checkSequence, NO_SEQUENCE, type SequenceState, type SequenceStep, sequenceStep } from './check-sequence.ts';
export {
  type DedupeOptions,
  type DedupeState,
  type DedupeStep,
  dedupeCommitTs,
  dedupePositionStep,
  dedupeStart,
  dedupeStep,
  type PositionState,
  positionStart,
} from './dedupe-commit-ts.ts';
export { drainMarkers } from './drain-markers.ts';
export { type EncodeOptions, encodeOrdered } from './encode-ordered.ts';
export { type Evicted, type EvictIdleOptions, evictIdle, IdleKeys } from './evict-idle.ts';
export { filterEpoch } from './filter-epoch.ts';
export { filterRows } from './filter-rows.ts';
export { filterTables } from './filter-tables.ts';
export { type Batchable, type Flush, type FlushByOptions, flushBy } from './flush-by.ts';
export { type GroupByTypeOptions, groupByType, type TypeGroup } from './group-by-type.ts';
export { lift } from './lift.ts';
export { mapRows } from './map-rows.ts';
export { type InputResolved, mergeResolved } from './merge-resolved.ts';
export { DROP, type EventStep, perEvent } from './per-event.ts';
export { projectColumns } from './project-columns.ts';
export { type RetryOptions, retryBackoff } from './retry-backoff.ts';
export { type RouteRule, routeTables } from './route-tables.ts';
export { type ShardOptions, shardBy } from './shard-by.ts';
export { splitKeyUpdates } from './split-key-updates.ts';
export { trackProgress } from './track-progress.ts';
export { type WatermarkOptions, type Weighed, watermarkBackpressure } from './watermark-backpressure.ts';
