import { type Observable, ReplaySubject } from 'rxjs';
import type { Clock, Context } from '../flow/index.ts';
import type { OpenSource, SourceStatus } from '../sources/source.ts';
import type { FlushReport } from './sink.ts';

/** Where a run stands. Counts are since its start. */
export interface RunStatus {
  readonly phase: RunPhase;
  /** Rows made durable, a second, over the last ten seconds: how `rows` grows. */
  readonly rowsPerSecond: number;
  /** Rows, bytes and pieces with rows (files) made durable. */
  readonly rows: number;
  readonly bytes: number;
  readonly files: number;
  /** Everything up to here is durable at the target; 0 before the first. */
  readonly checkpointTs: bigint;
  /** The source has emitted everything up to here. */
  readonly resolvedTs: bigint;
  /** The newest position that the source has told us of. */
  readonly sourceTs: bigint;
  /** How old the checkpoint is by the source's commit times; 0 when it has all that the source has told of (nothing new while its stream is broken), null when unknown. */
  readonly lagMs: number | null;
  /** Events that reached the sink and are not durable, and their bytes. */
  readonly pendingEvents: number;
  readonly pendingBytes: number;
  /** By the source's table name. */
  readonly tables: Readonly<Record<string, TableStatus>>;
}

/** `failed` and `closed` are last. */
export type RunPhase = 'starting' | SourceStatus['phase'] | 'draining' | 'failed';

export interface TableStatus {
  /** Rows, bytes and pieces with rows (files) made durable. */
  readonly rows: number;
  readonly bytes: number;
  readonly files: number;
  /** Rows of snapshots that the source has emitted since the start. */
  readonly snapshotRows: number;
  /** Nothing of a snapshot is due: that of all tables which share it is emitted. */
  readonly snapshotDone: boolean;
  /** All rows of its own snapshot are emitted, though others' may be due. */
  readonly snapshotCopied: boolean;
  /** The table was given up, the others go on; the log says why. */
  readonly stopped: boolean;
}

const TICK_MS = 500;
/** `rowsPerSecond` looks back this many ticks: over two flushes of the default interval, for rows become durable by files. */
const RATE_TICKS = 20;

/** Gathers the status of one run and emits it, multicast, twice a second while the run lasts, and once at its end. */
export class StatusBoard {
  readonly status$: Observable<RunStatus>;
  readonly #subject = new ReplaySubject<RunStatus>(1);
  readonly #clock: Clock;
  readonly #onTick: (status: RunStatus) => void;
  readonly #written = new Map<string, { rows: number; bytes: number; files: number }>();
  readonly #samples: { at: number; rows: number }[] = [];
  #phase: 'starting' | 'running' | 'draining' | 'closed' | 'failed' = 'starting';
  #context: Context | null = null;
  #source: OpenSource | null = null;
  #resumedTs = 0n;
  #rows = 0;
  #bytes = 0;
  #files = 0;
  #cancelTick: () => void;

  /** `onTick` hears each status before the subscribers do. */
  constructor(clock: Clock, onTick: (status: RunStatus) => void) {
    this.#clock = clock;
    this.#onTick = onTick;
    this.status$ = this.#subject.asObservable();
    this.#samples.push({ at: clock.now(), rows: 0 });
    this.#cancelTick = clock.after(TICK_MS, () => this.#tick());
    this.#subject.next(this.current);
  }

  /** The checkpoint that the run goes on from: what is true until the parts are there, and of a run that fails before. */
  resumes(checkpointTs: bigint): void {
    this.#resumedTs = checkpointTs;
  }

  /** The parts that make up the status, as soon as they are there. */
  opened(context: Context, source: OpenSource): void {
    this.#context = context;
    this.#source = source;
    if (this.#phase === 'starting') this.#phase = 'running';
  }

  draining(): void {
    this.#phase = 'draining';
  }

  flushed({ table, rows, bytes }: FlushReport): void {
    // A piece without rows is a schema.
    const files = rows > 0 ? 1 : 0;
    const entry = this.#written.get(table) ?? { rows: 0, bytes: 0, files: 0 };
    this.#written.set(table, { rows: entry.rows + rows, bytes: entry.bytes + bytes, files: entry.files + files });
    this.#rows += rows;
    this.#bytes += bytes;
    this.#files += files;
  }

  /** Emits the last status and completes. */
  close(phase: 'closed' | 'failed'): RunStatus {
    this.#cancelTick();
    this.#phase = phase;
    const last = this.current;
    this.#subject.next(last);
    this.#subject.complete();
    return last;
  }

  get current(): RunStatus {
    const { progress, gauge } = this.#context ?? {};
    const source = this.#source?.status() ?? null;
    const checkpointTs = progress?.checkpointTs ?? this.#resumedTs;
    return {
      phase: this.#phase === 'running' ? (source?.phase ?? 'starting') : this.#phase,
      rowsPerSecond: this.#rate(),
      rows: this.#rows,
      bytes: this.#bytes,
      files: this.#files,
      checkpointTs,
      resolvedTs: progress?.resolvedTs ?? 0n,
      sourceTs: source?.sourceTs ?? 0n,
      lagMs: this.#lagMs(source),
      pendingEvents: progress?.pendingEvents ?? 0,
      pendingBytes: gauge?.level ?? 0,
      tables: this.#tables(source),
    };
  }

  #tick(): void {
    this.#cancelTick = this.#clock.after(TICK_MS, () => this.#tick());
    this.#samples.push({ at: this.#clock.now(), rows: this.#rows });
    if (this.#samples.length > RATE_TICKS + 1) this.#samples.shift();
    const status = this.current;
    this.#onTick(status);
    this.#subject.next(status);
  }

  #rate(): number {
    const { at, rows } = this.#samples[0]!;
    const elapsedMs = this.#clock.now() - at;
    return elapsedMs <= 0 ? 0 : Math.round(((this.#rows - rows) * 1000) / elapsedMs);
  }

  #lagMs(source: SourceStatus | null): number | null {
    const progress = this.#context?.progress;
    if (progress === undefined || source === null) return null;
    if (progress.pendingEvents === 0 && progress.checkpointTs > 0n && progress.checkpointTs >= source.sourceTs) return 0;
    if (progress.checkpointTimeUs === 0n) return null;
    return Math.max(0, this.#clock.now() - Number(progress.checkpointTimeUs / 1000n));
  }

  #tables(source: SourceStatus | null): Record<string, TableStatus> {
    const none = { rows: 0, bytes: 0, files: 0, snapshotRows: 0, snapshotDone: true, snapshotCopied: true, stopped: false };
    const tables: Record<string, TableStatus> = {};
    for (const [name, status] of source?.tables ?? []) tables[name] = { ...none, snapshotCopied: status.snapshotDone, ...status };
    for (const [name, written] of this.#written) tables[name] = { ...none, ...tables[name], ...written };
    return tables;
  }
}
