import type { LinkFaults, Range } from './faults.ts';
import type { Simulation } from './simulation.ts';

export interface SimLinkOptions<M> {
  /** In the trace. */
  readonly name: string;
  /** How long a message is under way, in ms. */
  readonly latencyMs: Range;
  /** `partition` is the network's: a link alone has `isOpen`. */
  readonly faults?: LinkFaults;
  /** A message as the trace tells it. Default: not told. */
  readonly show?: (message: M) => string;
  /** Asked when a message leaves and when it arrives: false loses it. Default: always open. */
  readonly isOpen?: () => boolean;
  readonly deliver: (message: M) => void;
}

/** One direction between two ends: messages come in the order in which they were sent, or not at all. */
export class SimLink<M> {
  readonly #sim: Simulation;
  readonly #options: SimLinkOptions<M>;
  /** When the last message arrives: no later one comes before. */
  #lastMs = 0;

  constructor(sim: Simulation, options: SimLinkOptions<M>) {
    this.#sim = sim;
    this.#options = options;
  }

  send(message: M): void {
    const { name, latencyMs, faults = {}, isOpen } = this.#options;
    const sim = this.#sim;
    const why = isOpen !== undefined && !isOpen() ? 'parted' : sim.fault(faults.loss) ? 'lost' : null;
    if (why !== null) {
      this.#lose('sent', message, why);
      return;
    }
    let ms = sim.within(latencyMs);
    if (sim.fault(faults.delay)) {
      const moreMs = sim.within(faults.delayMs ?? DELAY_MS);
      ms += moreMs;
      sim.noteFault(name, `is ${moreMs} ms slower`);
    }
    this.#arrive(message, ms);
    if (sim.fault(faults.duplicate)) {
      sim.noteFault(name, `${this.#shown(message)} comes twice`);
      this.#arrive(message, ms);
    }
  }

  #arrive(message: M, ms: number): void {
    const { clock } = this.#sim;
    this.#lastMs = Math.max(this.#lastMs, clock.now() + ms);
    clock.after(this.#lastMs - clock.now(), () => {
      const { name, isOpen, deliver } = this.#options;
      if (isOpen !== undefined && !isOpen()) {
        this.#lose('under way', message, 'parted');
        return;
      }
      this.#sim.note(name, this.#shown(message));
      deliver(message);
    });
  }

  #lose(where: string, message: M, why: string): void {
    this.#sim.noteFault(this.#options.name, `${this.#shown(message)} is lost, ${where}: ${why}`);
  }

  #shown(message: M): string {
    return this.#options.show?.(message) ?? 'a message';
  }
}

const DELAY_MS: Range = [100, 5000];
