import type { Delivery } from '../events/index.ts';
import type { Clock, Logger, Metrics, PlainOptions, SystemEvents } from '../flow/index.ts';
import type { JsonValue } from '../formats/json.ts';

/** A port: where changes come from. A value in a definition; nothing connects until `open`. */
export interface Source {
  readonly name: string;
  /** Plain options for `describe`, without secrets. */
  readonly options: PlainOptions;
  open(context: SourceContext): Promise<OpenSource>;
}

/** What the source remembers between runs, and how it reaches the rest of the run. */
export interface SourceContext {
  readonly pipeline: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Who is told what happens. */
  readonly events: SystemEvents;
  /** Everything up to this commitTs is durable at the target; null before the first checkpoint. */
  readonly checkpointTs: bigint | null;
  /** What `saveState` last stored; null at the first start. */
  readonly state: JsonValue | null;
  /** What the target remembers of the source that wrote there; null for a new target. */
  readonly targetIdentity: JsonValue | null;
  /** Stores what the source must remember: when the promise resolves it is durable. */
  saveState(state: JsonValue): Promise<void>;
  /** Aborted to stop gracefully: `deliveries` then ends, at once, at whatever boundary it has reached. */
  readonly signal: AbortSignal;
}

export interface OpenSource {
  /** Identifies the database and the stream (no secrets); the target remembers it, so that another one is not mixed in. */
  readonly identity: JsonValue;
  /**
   * Whether the source numbers the changes at one commitTs, each for good: a change comes with the same position on every replay, and changes of a dispatcher in
   * the order of their positions. A sink may then drop what it has written before. Default false.
   */
  readonly hasOrdinals?: boolean;
  /**
   * Deliveries, pulled one by one. Within one dispatcher positions ascend strictly, over reconnections too; a block event comes in a delivery of its
   * own; resolved marks never go back and rest on transaction boundaries (I2). Iterated once.
   */
  readonly deliveries: AsyncIterable<Delivery>;
  /** Everything up to this commitTs is durable and the checkpoint stored: the source may forget it. Sent on with its next status. */
  confirm(checkpointTs: bigint): void;
  /** The commitTs that the source had reached when it was opened: once the checkpoint is there, the run has caught up. */
  readonly headTs: bigint;
  /** For the status display: what the source knows beside the stream. */
  status(): SourceStatus;
  /** Sends what was confirmed, ends the connections. Idempotent. */
  close(): Promise<void>;
}

export interface SourceStatus {
  /** `snapshot`, `streaming`, `reconnecting` or `closed`. */
  readonly phase: 'snapshot' | 'streaming' | 'reconnecting' | 'closed';
  /** The source's newest position that it has told us of. */
  readonly sourceTs: bigint;
  /** By table name. */
  readonly tables: ReadonlyMap<string, SourceTableStatus>;
}

export interface SourceTableStatus {
  /** Rows of snapshots emitted since the start. */
  readonly snapshotRows: number;
  /** Nothing of a snapshot is due: that of all tables which share it is emitted. */
  readonly snapshotDone: boolean;
  /** All rows of its own snapshot are emitted, though others' may be due. Where it is not told: as `snapshotDone`. */
  readonly snapshotCopied?: boolean;
  readonly stopped: boolean;
}
