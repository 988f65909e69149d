import type { Observable } from 'rxjs';
import type { Delivery, DispatcherId } from '../events/index.ts';
import type { Context, PlainOptions } from '../flow/index.ts';
import type { JsonValue } from '../formats/json.ts';

/** A port: where changes go. A value in a definition; nothing connects until `open`. */
export interface Sink {
  readonly name: string;
  /** Plain options for `describe`, without secrets. */
  readonly options: PlainOptions;
  open(context: SinkContext): Promise<OpenSink>;
}

export interface SinkContext {
  readonly pipeline: string;
  /** The run's context. The sink registers arriving deliveries with `context.progress` (`trackProgress`) and counts bytes in `context.gauge`. */
  readonly context: Context;
}

export interface OpenSink {
  /** What this target remembers of its source (set by `claim`); null for a new target. */
  readonly identity: JsonValue | null;
  /** Remembers the source, before anything of it is written. */
  claim(identity: JsonValue, source?: SourceTraits): Promise<void>;
  /**
   * Writes deliveries and acks their events; emits a report for each piece made durable. When `deliveries` completes, everything accepted is
   * flushed, then the result completes. Unsubscribing stops without a flush.
   */
  write(deliveries: Observable<Delivery>): Observable<FlushReport>;
  /** Publishes the checkpoint at the target, at most every 2 s unless `final`. */
  publishCheckpoint(checkpointTs: bigint, final: boolean): Promise<void>;
  close(): Promise<void>;
}

/** What a sink may rely on of a source. */
export interface SourceTraits {
  /** As `OpenSource.hasOrdinals`. Default false. */
  readonly hasOrdinals?: boolean;
}

/** One piece of the target was made durable. */
export interface FlushReport {
  readonly dispatcher: DispatcherId;
  readonly table: string;
  readonly path: string;
  readonly rows: number;
  readonly bytes: number;
  readonly reason: FlushReason;
}

export type FlushReason = 'size' | 'interval' | 'barrier' | 'quota' | 'oversized' | 'close';
