import { MillraceError } from '../../../lib/errors.ts';
import type { Clock, SystemEvents } from '../../../lib/flow/index.ts';
import { isCount, parseStoredJson } from '../../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../../lib/stores/index.ts';

/** The object that says which run writes to a target. No table's folder can be called `meta`. */
export const EPOCH_PATH = 'meta/epoch.json';

export interface EpochParts {
  readonly store: ObjectStore;
  readonly clock: Clock;
  /** Default: nobody listens. */
  readonly events?: SystemEvents;
  /** Several nodes write to the target, each its own dispatchers: there is no epoch then, and nothing is checked. */
  readonly isShared: boolean;
}

/**
 * Which run writes to a target: each takes the next number when it begins, by compare-and-set, and asks before each file whether it still stands (I9).
 *
 * A run that has asked just before another took over can have one more step under way. What makes that harmless is the step: a file goes only where there is none,
 * an index or a checkpoint only over the version that was read; and a folder that the next run does not write to is closed by it (`goOverTo`).
 */
export class Epoch {
  readonly #parts: EpochParts;
  #mine: Holder | null = null;
  #isOver = false;

  constructor(parts: EpochParts) {
    this.#parts = parts;
  }

  /** The number of this run; null before it was taken, and where several write. */
  get number(): number | null {
    return this.#mine?.epoch ?? null;
  }

  /** Tells this run from all others; null like `number`. */
  get run(): string | null {
    return this.#mine?.run ?? null;
  }

  /** Takes the target over from whoever writes there. Resolves to whether nobody did before. Throws MR_STORAGE_FILE_MALFORMED. */
  async take(): Promise<boolean> {
    const { store, clock, isShared } = this.#parts;
    if (isShared) return false;
    const run = Math.floor(clock.random() * 2 ** 48).toString(16);
    for (;;) {
      const present = await store.getVersioned(EPOCH_PATH);
      const mine = { epoch: (present === null ? 0 : parseEpoch(present.content).epoch) + 1, run };
      if ((await store.putIf(EPOCH_PATH, [Buffer.from(stringifyEpoch(mine))], present?.version ?? null)) === null) continue;
      this.#mine = mine;
      return present === null;
    }
  }

  /** Throws MR_STALE_EPOCH when another run has taken over. */
  async check(): Promise<void> {
    const mine = this.#mine;
    if (mine === null) return;
    const { store } = this.#parts;
    const content = await store.get(EPOCH_PATH);
    // Who deletes it takes the fence down, and nobody else has begun since.
    if (content === null) return;
    const { epoch, run } = parseEpoch(content);
    if (epoch === mine.epoch && run === mine.run) return;
    const { uri } = store;
    if (!this.#isOver) this.#parts.events?.record('target_fenced_off', () => ({ uri, epoch: mine.epoch, other_epoch: epoch }));
    this.#isOver = true;
    throw new MillraceError('MR_STALE_EPOCH', { uri, mine: mine.epoch, epoch });
  }
}

interface Holder {
  readonly epoch: number;
  /** Tells two runs apart that took the same number of a store that has no compare-and-set. */
  readonly run: string;
}

function stringifyEpoch({ epoch, run }: Holder): string {
  return `${JSON.stringify({ v: 1, epoch, run })}\n`;
}

function parseEpoch(content: Buffer): Holder {
  const { members, malformed } = parseStoredJson(content.toString(), EPOCH_PATH, 1);
  const { epoch, run } = members;
  if (!isCount(epoch) || typeof run !== 'string') throw malformed('it is no epoch of a run');
  return { epoch, run };
}
