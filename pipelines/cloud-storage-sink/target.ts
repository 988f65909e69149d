import type { Context } from '../../lib/flow/index.ts';
import type { RowEncoder } from '../../lib/formats/encoder.ts';
import type { PathOptions } from '../../lib/formats/storage-layout/index.ts';
import type { Spool } from '../../lib/spool/index.ts';
import type { ObjectStore } from '../../lib/stores/object-store.ts';
import type { CleanUp } from './clean-up/clean-up-job.ts';
import type { Drafts } from './files/drafts.ts';
import type { SinkSettings } from './options.ts';
import type { Epoch } from './root/epoch.ts';
import type { SegmentPool } from './rows/segment-pool.ts';

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
  /** Where rows are encoded to, until they are on disk or durable. */
  readonly segments: SegmentPool;
  /** Whether this run still is the one that writes there. */
  readonly epoch: Epoch;
  /** By index file: the number of the newest file when this run looked how far it had come, until it writes there. */
  readonly seen: Map<string, number>;
  /** Knows which folders take rows. */
  readonly cleanUp: CleanUp;
  /** Where encoded rows wait until they are durable. */
  readonly spool: Spool;
  /** Files that are written while their rows are gathered. */
  readonly drafts: Drafts;
}
