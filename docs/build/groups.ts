/** The order of the operators in the index: what a user's pipeline is written with, then what sources and sinks are made of. */
export const GROUPS: readonly (readonly [string, readonly string[]])[] = [
  ['Your stages', ['filterTables', 'filterRows', 'mapRows', 'projectColumns', 'routeTables', 'splitKeyUpdates']],
  ['Stages of your own', ['perEvent', 'lift']],
  ['Sessions', ['filterEpoch', 'checkSequence', 'dedupeCommitTs']],
  ['Sinks', ['trackProgress', 'drainMarkers', 'shardBy', 'encodeOrdered', 'watermarkBackpressure', 'flushBy', 'groupByType', 'evictIdle']],
  ['Sources and progress', ['mergeResolved', 'retryBackoff']],
];
