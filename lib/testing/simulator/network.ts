import { checkFaults, checkRange, type LinkFaults, type Range } from './faults.ts';
import type { SimProcess } from './incarnation.ts';
import { SimLink } from './link.ts';
import type { Simulation } from './simulation.ts';

export interface SimNetworkOptions<M> {
  /** In the trace. Default `net`. */
  readonly name?: string;
  /** How long a message is under way, in ms. Default 1 to 5. */
  readonly latencyMs?: Range;
  readonly faults?: LinkFaults;
  /** A message as the trace tells it. Default: not told. */
  readonly show?: (message: M) => string;
}

/** What a process sends and hears. */
export interface SimEndpoint<M> {
  /** To the node of that name. It may come late, twice or not at all, but never before what was sent to it earlier. */
  send(to: string, message: M): void;
  /** Whoever listens last hears. A message to a node that is down, or where nobody listens, is lost. */
  listen(handler: (message: M, from: string) => void): void;
}

/**
 * Links between all nodes, one for each ordered pair. Messages are handed over as they are: whoever wants copies sends bytes.
 */
export class SimNetwork<M> {
  readonly #sim: Simulation;
  readonly #options: SimNetworkOptions<M>;
  readonly #name: string;
  readonly #links = new Map<string, SimLink<M>>();
  readonly #nodes = new Set<string>();
  readonly #handlers = new Map<string, (message: M, from: string) => void>();
  /** Pairs that are parted, until when. */
  readonly #parted = new Map<string, number>();

  constructor(sim: Simulation, options: SimNetworkOptions<M> = {}) {
    checkFaults(options.faults ?? {});
    if (options.latencyMs !== undefined) checkRange('latencyMs', options.latencyMs);
    this.#sim = sim;
    this.#options = options;
    this.#name = options.name ?? 'net';
    sim.onCalm(() => this.heal());
  }

  /** The endpoint of a process, or of the one that runs on a node now: after a crash it sends and hears nothing. */
  endpoint(process: SimProcess): SimEndpoint<M> {
    const { name: from, generation } = process;
    this.#nodes.add(from);
    // A process that is gone may still run to the end of its turn.
    const isThere = () => process.isUp && process.generation === generation;
    return {
      send: (to, message) => {
        if (isThere()) this.#send(from, to, message);
      },
      listen: (handler) => {
        if (isThere()) this.#handlers.set(from, process.guard(handler));
      },
    };
  }

  /** Parts two nodes for `ms`, both ways; default until `heal`. */
  partition(a: string, b: string, ms = Number.POSITIVE_INFINITY): void {
    this.#sim.noteFault(this.#name, `${a} and ${b} are parted${ms === Number.POSITIVE_INFINITY ? '' : ` for ${ms} ms`}`);
    this.#parted.set(pairOf(a, b), this.#sim.clock.now() + ms);
  }

  /** Parts a node from all the others that have an endpoint. */
  isolate(name: string, ms?: number): void {
    for (const other of this.#nodes) if (other !== name) this.partition(name, other, ms);
  }

  /** Ends all partitions. */
  heal(): void {
    if (this.#parted.size > 0) this.#sim.note(this.#name, 'heals');
    this.#parted.clear();
  }

  #send(from: string, to: string, message: M): void {
    const key = `${from}>${to}`;
    let link = this.#links.get(key);
    if (link === undefined) {
      const { latencyMs = LATENCY_MS, faults = {}, show } = this.#options;
      link = new SimLink<M>(this.#sim, {
        name: `${this.#name} ${key}`,
        latencyMs,
        faults,
        ...(show === undefined ? {} : { show }),
        isOpen: () => !this.#isParted(from, to),
        deliver: (arrived) => this.#handlers.get(to)?.(arrived, from),
      });
      this.#links.set(key, link);
    }
    const { faults = {} } = this.#options;
    if (this.#sim.fault(faults.partition)) this.partition(from, to, this.#sim.within(faults.partitionMs ?? PARTITION_MS));
    link.send(message);
  }

  #isParted(a: string, b: string): boolean {
    const untilMs = this.#parted.get(pairOf(a, b));
    if (untilMs === undefined) return false;
    if (this.#sim.clock.now() < untilMs) return true;
    this.#parted.delete(pairOf(a, b));
    return false;
  }
}

const LATENCY_MS: Range = [1, 5];
const PARTITION_MS: Range = [500, 10_000];

function pairOf(a: string, b: string): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`;
}
