import { reasonOf } from '../errors.ts';
import type { Clock, Logger } from '../flow/index.ts';
import { formatDuration } from '../units.ts';

/** A part that does not close in this time is left to itself. */
const CLOSE_TIMEOUT_MS = 5_000;

/** The open parts of a run. One that fails to close, or hangs, is logged and does not keep the others open. */
export class Closers {
  readonly #clock: Clock;
  readonly #logger: Logger;
  #closers: Closer[] = [];
  /** Of what closes now; whoever closes something else waits for that too. */
  #closing: Promise<void> = Promise.resolve();

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  add(part: string, close: () => Promise<void>): void {
    this.#closers.push({ part, close });
  }

  /** Closes all parts that are open, or one: one after another, in the reverse order of opening. Never rejects. */
  close(only?: string): Promise<void> {
    const due = this.#closers.filter(({ part }) => only === undefined || part === only);
    this.#closers = this.#closers.filter((closer) => !due.includes(closer));
    this.#closing = this.#closing.then(async () => {
      for (const closer of due.reverse()) await this.#closeOne(closer);
    });
    return this.#closing;
  }

  async #closeOne({ part, close }: Closer): Promise<void> {
    let cancel = () => {};
    const late = new Promise<'late'>((resolve) => {
      cancel = this.#clock.after(CLOSE_TIMEOUT_MS, () => resolve('late'));
    });
    try {
      const outcome = await Promise.race([close(), late]);
      if (outcome === 'late') this.#logger.warn({ part, waited: formatDuration(CLOSE_TIMEOUT_MS) }, 'a part did not close in time');
    } catch (error) {
      this.#logger.warn({ part, reason: reasonOf(error) }, 'a part failed to close');
    } finally {
      cancel();
    }
  }
}

interface Closer {
  readonly part: string;
  close(): Promise<void>;
}
