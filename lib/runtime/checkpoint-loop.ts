import { MillraceError, reasonOf } from '../errors.ts';
import { type Clock, noSystemEvents, type SystemEvents } from '../flow/index.ts';
import type { JsonValue } from '../formats/json.ts';
import type { Checkpoint, CheckpointStore } from './checkpoint.ts';

export interface CheckpointLoopOptions {
  readonly pipeline: string;
  readonly store: CheckpointStore;
  /** What the store held at the start; null for a first start. */
  readonly loaded: Checkpoint | null;
  readonly clock: Clock;
  /** Default: nobody listens. */
  readonly events?: SystemEvents;
  /** Publishes at the target. */
  publish(checkpointTs: bigint, final: boolean): Promise<void>;
  /** Tells the source. */
  confirm(checkpointTs: bigint): void;
  /** Hears how long each save took. */
  onSaved?(durationMs: number): void;
  /** Hears the first failure; nothing is saved, published or confirmed after it. */
  onFailure(error: unknown): void;
}

/** A checkpoint that moved alone is saved at most this often. */
const SAVE_INTERVAL_MS = 200;

/**
 * Stores checkpoints and source state: one save at a time, of the newest values. A checkpoint is saved, then published at the target, then
 * confirmed to the source, strictly in this order and never after a failure (I1, I4).
 */
export class CheckpointLoop {
  readonly #options: CheckpointLoopOptions;
  #checkpointTs: bigint | null;
  #sourceState: JsonValue | null;
  /** What was handed on to target and source last. */
  #confirmedTs: bigint | null;
  #isDirty = false;
  #isUrgent = false;
  #waiters: { resolve(): void; reject(error: unknown): void }[] = [];
  #pass: Promise<void> | null = null;
  #lastPassAt = Number.NEGATIVE_INFINITY;
  #cancelTimer: (() => void) | null = null;
  #failure: { readonly error: unknown } | null = null;

  constructor(options: CheckpointLoopOptions) {
    this.#options = options;
    this.#checkpointTs = options.loaded?.checkpointTs ?? null;
    this.#confirmedTs = this.#checkpointTs;
    this.#sourceState = options.loaded?.sourceState ?? null;
  }

  /** Publishes what is stored: a crash may have come between the two, and a quiet source would bring no newer one. For a target that is claimed. */
  async resume(): Promise<void> {
    const checkpointTs = this.#options.loaded?.checkpointTs ?? null;
    if (checkpointTs !== null) await this.#guarded(() => this.#publish(checkpointTs, false), 'target');
  }

  /** Everything up to here is durable at the target. Saved soon; a newer one replaces one that still waits. */
  advance(checkpointTs: bigint): void {
    if (this.#checkpointTs !== null && checkpointTs <= this.#checkpointTs) return;
    this.#checkpointTs = checkpointTs;
    this.#isDirty = true;
    this.#start();
  }

  /** Saves what the source must remember, with the checkpoint of the moment; durable when the promise resolves. */
  saveState(state: JsonValue): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure.error);
    this.#sourceState = state;
    this.#isDirty = true;
    this.#isUrgent = true;
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#start();
    });
  }

  /** Saves and confirms whatever is left, then publishes the last checkpoint as the final one. Rejects with the failure, if there was one. */
  async finish(): Promise<void> {
    await this.idle();
    if (this.#checkpointTs === null) return;
    await this.#guarded(() => this.#publish(this.#checkpointTs!, true), 'target');
    if (this.#failure !== null) throw this.#failure.error;
  }

  /** Resolves when nothing is left to save. Rejects with the failure, if there was one. */
  async idle(): Promise<void> {
    while (this.#failure === null && (this.#isDirty || this.#pass !== null)) {
      this.#isUrgent = true;
      this.#start();
      await this.#pass;
    }
    if (this.#failure !== null) throw this.#failure.error;
  }

  /** Resolves when no save is in flight any more, whatever became of it. */
  async settled(): Promise<void> {
    await this.#pass;
  }

  /** Ends the loop: no save begins from now on, and none in flight is published or confirmed. */
  stop(error: unknown): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#failure ??= { error };
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.#failure.error);
  }

  #start(): void {
    if (this.#pass !== null || !this.#isDirty || this.#failure !== null) return;
    const { clock } = this.#options;
    // At most one interval, also when the wall clock was set back.
    const waitMs = this.#isUrgent ? 0 : Math.min(this.#lastPassAt + SAVE_INTERVAL_MS - clock.now(), SAVE_INTERVAL_MS);
    if (waitMs > 0) {
      this.#cancelTimer ??= clock.after(waitMs, () => {
        this.#cancelTimer = null;
        this.#lastPassAt = Number.NEGATIVE_INFINITY;
        this.#start();
      });
      return;
    }
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#lastPassAt = clock.now();
    this.#pass = this.#savePublishConfirm().finally(() => {
      this.#pass = null;
      this.#start();
    });
  }

  async #savePublishConfirm(): Promise<void> {
    const { pipeline, store, clock, confirm, onSaved, events = noSystemEvents } = this.#options;
    const checkpointTs = this.#checkpointTs;
    const waiters = this.#waiters.splice(0);
    this.#isDirty = false;
    this.#isUrgent = false;
    await this.#guarded(async () => {
      const startedMs = clock.now();
      const save = () => store.save(pipeline, { checkpointTs, sourceState: this.#sourceState });
      await events.timed('save_checkpoint', () => ({ store: store.name }), save);
      onSaved?.(clock.now() - startedMs);
    }, store.name);
    for (const waiter of waiters) {
      if (this.#failure === null) waiter.resolve();
      else waiter.reject(this.#failure.error);
    }
    if (this.#failure !== null || checkpointTs === null || checkpointTs === this.#confirmedTs) return;
    await this.#guarded(() => this.#publish(checkpointTs, false), 'target');
    if (this.#failure !== null) return;
    this.#confirmedTs = checkpointTs;
    await this.#guarded(async () => confirm(checkpointTs), 'source');
  }

  #publish(checkpointTs: bigint, final: boolean): Promise<void> {
    const { publish, events = noSystemEvents } = this.#options;
    return events.timed(
      'publish_checkpoint',
      () => ({ checkpoint_ts: checkpointTs }),
      () => publish(checkpointTs, final),
    );
  }

  async #guarded(step: () => Promise<void>, where: string): Promise<void> {
    if (this.#failure !== null) return;
    try {
      await step();
    } catch (cause) {
      if (this.#failure !== null) return;
      const error =
        cause instanceof MillraceError
          ? cause
          : new MillraceError('MR_CHECKPOINT_FAILED', { pipeline: this.#options.pipeline, where, reason: reasonOf(cause) }, cause);
      this.stop(error);
      const { events = noSystemEvents } = this.#options;
      events.record('checkpoint_failed', () => ({ where, code: error.code, error: error.message }));
      this.#options.onFailure(error);
    }
  }
}
