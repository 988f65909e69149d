import type { Context } from '../../lib/flow/index.ts';
import type { RowEncoder } from '../../lib/formats/encoder.ts';
import type { PathOptions } from '../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../lib/stores/object-store.ts';
import type { SinkSettings } from './options.ts';
import type { SegmentPool } from './segment-pool.ts';

/** What the settings say of names and folders. */
export function pathOptionsOf(settings: SinkSettings): PathOptions {
  const { fileIndexDigits, enablePartitionSeparator, useTableIdAsPath, enableTableAcrossNodes } = settings;
  return { fileIndexDigit: fileIndexDigits, enablePartitionSeparator, useTableIdAsPath, enableTableAcrossNodes };
}

/** Where an open sink writes, and how. */
export interface Target {
  readonly store: ObjectStore;
  readonly settings: SinkSettings;
  readonly paths: PathOptions;
  readonly encoder: RowEncoder;
  readonly context: Context;
  /** Where rows are encoded to, until they are durable. */
  readonly segments: SegmentPool;
}
