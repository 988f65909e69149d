import { RealTimerGuard } from '../real-timer-guard.ts';

/** What was given to `setImmediate` and has not run yet. */
export class Immediates {
  #waiting: Immediate[] = [];

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  add(fn: () => void): Immediate {
    const immediate = new Immediate(fn);
    this.#waiting.push(immediate);
    return immediate;
  }

  /** Runs those that wait now; what they add waits for the next time. */
  run(): void {
    const due = this.#waiting;
    this.#waiting = [];
    for (const { fn } of due) fn?.();
  }

  clear(): void {
    this.#waiting = [];
  }
}

/** As much of Node's as anybody uses. */
class Immediate {
  /** Null when it was cleared. */
  fn: (() => void) | null;

  constructor(fn: () => void) {
    this.fn = fn;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  hasRef(): boolean {
    return true;
  }
}

/** What left the simulation: asked for a real timer, rejected without anybody who handles it, or had no subscriber for its error. */
export interface Leak {
  readonly error: unknown;
}

/** How things stand when everything that was ready has run. */
export interface Turn {
  /** The first. */
  readonly leak: Leak | null;
  /** What is ready never comes to its end: each immediate asks for another, and time stands still. */
  readonly isEndless: boolean;
}

/**
 * Calls `turn` again and again until it says that it is over, each time when everything that is ready has run to its end: promises, `process.nextTick` and
 * `setImmediate`, which belongs to the simulation meanwhile. Real timers are refused.
 *
 * There is no turn of the real event loop in it, which costs five times as much: `process.nextTick` runs behind the promises that are ready. Every so often
 * the process may breathe. Simulations of one process that overlap share all this: whoever is next runs what is there.
 *
 * @param turn is told the first leak, once more at the end if it showed only then.
 * @param nowMs the time of the simulation, for what is refused.
 */
export async function eachTurn(turn: (now: Turn) => boolean, nowMs: () => number): Promise<void> {
  if (users === 0) guard = RealTimerGuard.install(nowMs);
  if (users++ === 0) takeOver();
  try {
    await new Promise<void>((resolve, reject) => {
      let turns = 0;
      let immediates = 0;
      const next = () => {
        try {
          if (!shared.isEmpty && ++immediates < IMMEDIATES_MAX) shared.run();
          else {
            const isEndless = immediates >= IMMEDIATES_MAX;
            immediates = 0;
            if (turn({ leak: leak(), isEndless })) return resolve();
          }
        } catch (error) {
          return reject(error);
        }
        if (++turns % BREATHE_EVERY === 0) realImmediate(() => process.nextTick(next));
        else ready.then(soon);
      };
      // Not a tick out of a tick: that one would run before the promises.
      const soon = () => process.nextTick(next);
      ready.then(soon);
    });
    // Node tells of rejections that nobody handles when it has nothing else to do.
    await new Promise((resolve) => realImmediate(resolve));
    if (leak() !== null) turn({ leak: leak(), isEndless: false });
  } finally {
    if (--users === 0) giveBack();
  }
}

const BREATHE_EVERY = 4096;
/** Rounds of immediates in one step. */
const IMMEDIATES_MAX = 100_000;
const ready = Promise.resolve();
const realImmediate = globalThis.setImmediate;
const realClear = globalThis.clearImmediate;
const shared = new Immediates();
let users = 0;
let guard: RealTimerGuard | null = null;
let rejection: Leak | null = null;

function leak(): Leak | null {
  try {
    guard?.check();
    return rejection;
  } catch (error) {
    return { error };
  }
}

/** What the process waits for that no simulation refuses: a timer of `node:timers`, a file, a socket. The runner's own may be among it. */
export function waitingOutside(): readonly string[] {
  return guard?.waitingOutside() ?? [];
}

function onRejection(error: unknown): void {
  rejection ??= { error };
}

function takeOver(): void {
  rejection = null;
  process.on('unhandledRejection', onRejection);
  takeImmediates();
}

function giveBack(): void {
  Object.assign(globalThis, { setImmediate: realImmediate, clearImmediate: realClear });
  process.off('unhandledRejection', onRejection);
  guard?.restore();
  guard = null;
  // Of a world that was over before they came.
  shared.clear();
}

function takeImmediates(): void {
  Object.assign(globalThis, {
    setImmediate: (fn: (...args: unknown[]) => void, ...args: unknown[]) => shared.add(() => fn(...args)),
    clearImmediate: (handle: unknown) => {
      if (handle instanceof Immediate) handle.fn = null;
      else realClear(handle as NodeJS.Immediate);
    },
  });
}
