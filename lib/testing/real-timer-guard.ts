import { MillraceError } from '../errors.ts';

/** Stands in the place of the global timers while virtual time runs, and refuses. What it had to refuse is kept: whoever asked may have caught the error. */
export class RealTimerGuard {
  /** Rejects with the first failure. */
  readonly failed: Promise<never>;
  readonly #now: () => number;
  readonly #before = { setTimeout: globalThis.setTimeout, setInterval: globalThis.setInterval, abortAfter: AbortSignal.timeout };
  readonly #resources = process.getActiveResourcesInfo();
  #failure: { readonly error: unknown } | null = null;
  #fail: (error: unknown) => void = () => {};

  /** @throws MR_VIRTUAL_TIME_NESTED when one is there already. */
  static install(now: () => number): RealTimerGuard {
    const { [GUARDED]: other } = globalThis.setTimeout as Guarded;
    if (other !== undefined) throw new MillraceError('MR_VIRTUAL_TIME_NESTED', { nowMs: other() });
    return new RealTimerGuard(now);
  }

  private constructor(now: () => number) {
    this.#now = now;
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => {});
    globalThis.setTimeout = Object.assign(this.#refusal('setTimeout'), { [GUARDED]: now }) as unknown as typeof setTimeout;
    globalThis.setInterval = this.#refusal('setInterval') as unknown as typeof setInterval;
    AbortSignal.timeout = this.#refusal('AbortSignal.timeout');
  }

  restore(): void {
    globalThis.setTimeout = this.#before.setTimeout;
    globalThis.setInterval = this.#before.setInterval;
    AbortSignal.timeout = this.#before.abortAfter;
  }

  /** Throws the first failure, if there was one. */
  check(): void {
    if (this.#failure !== null) throw this.#failure.error;
  }

  /** What the process waits for that it did not wait for before: a timer of `node:timers`, a file, a socket. */
  waitingOutside(): string[] {
    const known = [...this.#resources];
    return process.getActiveResourcesInfo().filter((kind) => {
      const index = known.indexOf(kind);
      if (index >= 0) known.splice(index, 1);
      return index < 0 && kind !== 'Immediate';
    });
  }

  #refusal(name: string): (...args: unknown[]) => never {
    return (...args) => {
      if (isReportOfRxjs() && typeof args[0] === 'function') return this.#report(args[0] as () => void) as never;
      const ms = args.find((arg) => typeof arg === 'number');
      const what = typeof args[0] === 'function' ? `${name}(…, ${ms ?? 0})` : `${name}(${ms ?? ''})`;
      throw this.#keep(new MillraceError('MR_REAL_TIMER', { what, nowMs: this.#now() }));
    };
  }

  /** The error that nobody handled fails the test, instead of the process. */
  #report(rethrow: () => void): void {
    try {
      rethrow();
    } catch (error) {
      this.#keep(error);
    }
  }

  #keep<T>(error: T): T {
    this.#failure ??= { error };
    this.#fail(error);
    return error;
  }
}

/** On the guarded `setTimeout`: how far virtual time has come. Under a name that other copies of this module know too. */
const GUARDED = Symbol.for('millrace.virtualTime');

interface Guarded {
  readonly [GUARDED]?: () => number;
}

/** RxJS throws what no subscriber handles from a timer of its own. */
function isReportOfRxjs(): boolean {
  return new Error().stack?.includes('reportUnhandledError') === true;
}
