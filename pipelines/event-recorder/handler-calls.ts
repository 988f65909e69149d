import { isMillraceError, MillraceError, reasonOf } from '../../lib/errors.ts';
import type { Context, Counter, Histogram } from '../../lib/flow/index.ts';
import { scrubText } from '../../lib/redact.ts';
import { bounded } from './bounded.ts';
import type { Entry } from './entry.ts';
import { type EventGroup, isRetryable } from './event.ts';
import { RECORDER_METRICS } from './metrics.ts';
import type { RecorderLimits } from './options.ts';
import type { DropReason } from './outcome.ts';

/** What became of some events. */
export interface Settlement {
  readonly entries: readonly Entry[];
  readonly fate: 'delivered' | DropReason;
  /** Whether they are dead letters. */
  readonly isKept: boolean;
}

/** Why a call has failed, and whether the same may succeed later. That is asked once: the user's predicate might say something else the next time. */
export class FailedCall extends Error {
  readonly reason: unknown;
  readonly mayPass: boolean;

  constructor(reason: unknown, mayPass: boolean) {
    super(reasonOf(reason));
    this.reason = reason;
    this.mayPass = mayPass;
  }
}

export interface HandlerCallsParts {
  readonly limits: RecorderLimits;
  readonly context: Context;
  /** Hears of each call of the handler: null when it has succeeded. */
  readonly onCalled: (failure: { readonly error: unknown } | null) => void;
}

/**
 * Calls the handler, and the store of dead letters, within their time. A call that throws, rejects or is late has failed; one that was aborted is waited for as
 * long as the grace says, and counts if it still succeeds.
 */
export class HandlerCalls {
  readonly #parts: HandlerCallsParts;
  readonly #retries: Counter;
  readonly #failures: Counter;
  readonly #durations: Histogram;
  readonly #stop = new AbortController();
  #hasOpened = false;
  #isOpen = false;
  /** What the call that runs settles, null when it fails; null when none runs. */
  #running: Promise<Settlement | null> | null = null;
  #areLettersLost = false;
  #isPredicateBroken = false;

  constructor(parts: HandlerCallsParts) {
    const { metrics } = parts.context;
    const labels = { recorder: parts.limits.name };
    this.#parts = parts;
    this.#retries = metrics.counter(RECORDER_METRICS.retries, labels);
    this.#failures = metrics.counter(RECORDER_METRICS.failures, labels);
    this.#durations = metrics.histogram(RECORDER_METRICS.handlerDuration, labels);
  }

  get retries(): number {
    return this.#retries.value;
  }

  get failures(): number {
    return this.#failures.value;
  }

  /** @throws FailedCall of what the handler throws; of MR_EVENT_HANDLER_TIMEOUT, MR_EVENT_RECORDER_STOPPED. */
  async deliver(entries: readonly Entry[], attempt: number): Promise<void> {
    const { limits, context, onCalled } = this.#parts;
    const { handler } = limits;
    const { table, type } = entries[0]!.event;
    const group: EventGroup = Object.freeze({
      table,
      type,
      events: Object.freeze(entries.map(({ event }) => event)),
      hints: limits.hintsOf(type),
    });
    if (attempt > 1) this.#retries.add(1);
    const startedMs = context.clock.now();
    const call = this.#bounded(handler.name, async (signal) => {
      this.#hasOpened = true;
      if (!this.#isOpen) {
        await handler.open?.(context);
        this.#isOpen = true;
        // Given up meanwhile: its events have gone another way (G6).
        signal.throwIfAborted();
      }
      await handler.deliver(group, { signal, attempt });
    });
    this.#running = settling(call, { entries, fate: 'delivered', isKept: false });
    let failure: { readonly error: unknown } | null = null;
    try {
      await call;
    } catch (error) {
      this.#failures.add(1);
      failure = { error };
    }
    this.#running = null;
    this.#durations.observe(Math.max(0, context.clock.now() - startedMs) / 1000);
    onCalled(failure);
    if (failure !== null) throw new FailedCall(failure.error, this.#mayPass(failure.error));
  }

  /** Whether they are kept now; never fails. */
  async bury(entries: readonly Entry[], reason: 'rejected' | 'exhausted', error: unknown): Promise<boolean> {
    const { limits, context } = this.#parts;
    const { deadLetters, name } = limits;
    if (deadLetters === null) return false;
    const events = entries.map(({ event }) => event);
    const letters = { events, reason, error: scrubText(reasonOf(error)), atMs: context.clock.now() };
    const call = this.#bounded(deadLetters.name, () => deadLetters.write(letters));
    this.#running = settling(call, { entries, fate: reason, isKept: true });
    try {
      await call;
      this.#areLettersLost = false;
      return true;
    } catch (failure) {
      const details = { recorder: name, events: events.length, reason: scrubText(reasonOf(failure)) };
      // Once until it works again: where every event is refused there is one call for each (W14).
      if (!this.#areLettersLost) context.logger.error(details, 'dead letters could not be kept');
      this.#areLettersLost = true;
      return false;
    } finally {
      this.#running = null;
    }
  }

  /** No call is waited for longer than its grace from now on. Gives what the call that runs has settled, when it has ended. */
  async stop(): Promise<Settlement | null> {
    const running = this.#running;
    this.#stop.abort(new MillraceError('MR_EVENT_RECORDER_STOPPED', { recorder: this.#parts.limits.name }));
    return running;
  }

  /** The handler is told that nothing more comes, and then the store of dead letters; never fails. */
  async close(): Promise<void> {
    const { limits, context } = this.#parts;
    const { handler, deadLetters } = limits;
    const recorder = limits.name;
    try {
      if (this.#hasOpened && handler.close !== undefined) {
        await this.#bounded(handler.name, async () => handler.close?.(), new AbortController().signal);
      }
    } catch (error) {
      context.logger.warn({ recorder, handler: handler.name, reason: scrubText(reasonOf(error)) }, 'the event handler did not close');
    }
    try {
      if (deadLetters?.close !== undefined) {
        await this.#bounded(deadLetters.name, async () => deadLetters.close?.(), new AbortController().signal);
      }
    } catch (error) {
      context.logger.warn({ recorder, reason: scrubText(reasonOf(error)) }, 'the dead letters could not be closed');
    }
  }

  #mayPass(error: unknown): boolean {
    // These say nothing of the events: none were brought, or nobody knows what became of them.
    if (!this.#isOpen) return true;
    if (!isRetryable(error)) return false;
    if (CUT_SHORT.some((code) => isMillraceError(error, code))) return true;
    const { limits, context } = this.#parts;
    try {
      const answer: unknown = limits.retryable(error);
      if (typeof answer === 'boolean') return answer;
      // One that is late must not end the process when it fails.
      Promise.resolve(answer).catch(() => {});
      throw new TypeError(`it answers with ${answer instanceof Promise ? 'a promise' : typeof answer}, and not with true or false`);
    } catch (failure) {
      const details = { recorder: limits.name, reason: scrubText(reasonOf(failure)) };
      if (!this.#isPredicateBroken) context.logger.error(details, 'retry.retryable failed: every error is taken for one that may pass');
      this.#isPredicateBroken = true;
      return true;
    }
  }

  #bounded<T>(handler: string, call: (signal: AbortSignal) => Promise<T>, stop = this.#stop.signal): Promise<T> {
    const { handlerTimeoutMs: timeoutMs, abortGraceMs: graceMs } = this.#parts.limits;
    const late = () => new MillraceError('MR_EVENT_HANDLER_TIMEOUT', { handler, timeoutMs });
    return bounded(call, { clock: this.#parts.context.clock, timeoutMs, graceMs, stop, late });
  }
}

/** Of calls that were ended from here. */
const CUT_SHORT = ['MR_EVENT_HANDLER_TIMEOUT', 'MR_EVENT_RECORDER_STOPPED'] as const;

function settling(call: Promise<void>, settlement: Settlement): Promise<Settlement | null> {
  return call.then(
    () => settlement,
    () => null,
  );
}
