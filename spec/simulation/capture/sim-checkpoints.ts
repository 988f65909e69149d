import type { JsonValue } from '../../../lib/formats/json.ts';
import type { Checkpoint, CheckpointStore } from '../../../lib/index.ts';
import type { Simulation } from '../../../lib/testing/index.ts';

/** A checkpoint store on another machine: it keeps what it was given, and does not always say so. */
export class SimCheckpoints implements CheckpointStore {
  readonly name = 'sim';
  readonly #sim: Simulation;
  readonly #fails: number;
  readonly #saved = new Map<string, Checkpoint & { readonly number: number }>();
  #saves = 0;

  /** @param fails the chance that a call fails, before its effect or after it. */
  constructor(sim: Simulation, fails: number) {
    this.#sim = sim;
    this.#fails = fails;
  }

  load(pipeline: string): Promise<Checkpoint | null> {
    return this.#call(`load ${pipeline}`, () => {
      const found = this.#saved.get(pipeline);
      return found === undefined ? null : { checkpointTs: found.checkpointTs, sourceState: copied(found.sourceState) };
    });
  }

  save(pipeline: string, { checkpointTs, sourceState }: Checkpoint): Promise<void> {
    const checkpoint = { checkpointTs, sourceState: copied(sourceState), number: ++this.#saves };
    return this.#call(`save ${pipeline} at ${checkpointTs}`, () => {
      // One that was asked for later may have come before.
      if ((this.#saved.get(pipeline)?.number ?? 0) < checkpoint.number) this.#saved.set(pipeline, checkpoint);
    });
  }

  async #call<T>(what: string, effect: () => T): Promise<T> {
    const sim = this.#sim;
    await sim.clock.sleep(sim.between(0, 3));
    if (sim.fault(this.#fails)) throw this.#failure(what, 'nothing was done');
    const result = effect();
    sim.note('checkpoints', what);
    await sim.clock.sleep(sim.between(0, 3));
    if (sim.fault(this.#fails)) throw this.#failure(what, 'it was done');
    return result;
  }

  #failure(what: string, how: string): Error {
    this.#sim.noteFault('checkpoints', `${what} fails: ${how}`);
    return new Error(`the checkpoint store does not answer (${how})`);
  }
}

/** As it would come back from a file: small integers as numbers. */
function copied(value: JsonValue): JsonValue {
  if (typeof value === 'bigint') return value <= MAX_SAFE && value >= -MAX_SAFE ? Number(value) : value;
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(copied);
  const from = value as Record<string, JsonValue | undefined>;
  const members: Record<string, JsonValue> = {};
  // Neither a spread nor `Object.entries`: they take twice as long.
  for (const name in from) {
    const member = from[name];
    if (member !== undefined) members[name] = typeof member === 'object' || typeof member === 'bigint' ? copied(member) : member;
  }
  return members;
}

const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);
