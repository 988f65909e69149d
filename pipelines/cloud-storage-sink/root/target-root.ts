import { MillraceError } from '../../../lib/errors.ts';
import type { Clock } from '../../../lib/flow/index.ts';
import type { JsonValue } from '../../../lib/formats/json.ts';
import { METADATA_PATH, parseMetadata, stringifyMetadata } from '../../../lib/formats/storage-layout/index.ts';
import type { ObjectStore, ObjectVersion, VersionedObject } from '../../../lib/stores/object-store.ts';
import type { Epoch } from './epoch.ts';
import {
  canonicalText,
  parseTargetIdentity,
  stringifyTargetIdentity,
  TARGET_IDENTITY_PATH,
  type TargetFormat,
  type TargetIdentity,
} from './target-identity.ts';

/** `metadata` is written at most this often. */
const PUBLISH_INTERVAL_MS = 2000;

/** The objects that stand for the whole target: whose changes it holds, in which format, and its checkpoint (spec storage-sink §4.5, §5.8). */
export class TargetRoot {
  readonly #store: ObjectStore;
  readonly #clock: Clock;
  readonly #format: TargetFormat;
  readonly #epoch: Epoch | undefined;
  readonly #onFailure: (error: unknown) => void;
  readonly #measured: (write: () => Promise<boolean>) => Promise<void>;
  #claimed: TargetIdentity | null;
  #publishedTs: bigint | null;
  /** Of `metadata`. */
  #version: ObjectVersion | null;
  #wantedTs = 0n;
  #publishedAt = Number.NEGATIVE_INFINITY;
  #cancelTimer: (() => void) | null = null;
  #writes: Promise<void> = Promise.resolve();

  private constructor(parts: RootParts, claimed: TargetIdentity | null, metadata: VersionedObject | null) {
    this.#store = parts.store;
    this.#clock = parts.clock;
    this.#format = parts.format;
    this.#onFailure = parts.onFailure;
    this.#measured = parts.measured ?? (async (write) => void (await write()));
    this.#claimed = claimed;
    this.#epoch = parts.epoch;
    this.#publishedTs = metadata === null ? null : parseMetadata(metadata.content.toString());
    this.#version = metadata?.version ?? null;
  }

  /** Reads what the target remembers. Throws MR_TARGET_OF_ANOTHER_FORMAT, MR_STORAGE_FILE_MALFORMED. */
  static async open(parts: RootParts): Promise<TargetRoot> {
    const { store, format } = parts;
    const [identity, metadata] = await Promise.all([store.get(TARGET_IDENTITY_PATH), store.getVersioned(METADATA_PATH)]);
    const claimed = identity === null ? null : parseTargetIdentity(identity.toString());
    if (claimed !== null) checkFormat(store, claimed, format);
    return new TargetRoot(parts, claimed, metadata);
  }

  /** The checkpoint in `metadata`; null before the first. */
  get publishedTs(): bigint | null {
    return this.#publishedTs;
  }

  get identity(): JsonValue | null {
    return this.#claimed?.identity ?? null;
  }

  /**
   * Remembers the source, then takes the target over. Resolves to whether nobody had written there.
   *
   * @throws MR_TARGET_OF_ANOTHER_SOURCE when the target remembers another one, also one that came first just now.
   */
  async claim(identity: JsonValue): Promise<boolean> {
    const isNew = await this.#remember(identity);
    // Another run can have come, and written, between the two.
    const isFirst = (await this.#epoch?.take()) ?? true;
    return isNew && isFirst;
  }

  async #remember(identity: JsonValue): Promise<boolean> {
    if (this.#claimed === null) {
      const claim = { identity, format: this.#format };
      if (await this.#store.putIfAbsent(TARGET_IDENTITY_PATH, [Buffer.from(stringifyTargetIdentity(claim))])) {
        this.#claimed = claim;
        return true;
      }
      const stored = await this.#store.get(TARGET_IDENTITY_PATH);
      this.#claimed = stored === null ? claim : parseTargetIdentity(stored.toString());
    }
    checkFormat(this.#store, this.#claimed, this.#format);
    const [remembered, source] = [canonicalText(this.#claimed.identity), canonicalText(identity)];
    if (remembered !== source) throw new MillraceError('MR_TARGET_OF_ANOTHER_SOURCE', { uri: this.#store.uri, remembered, source });
    return false;
  }

  /**
   * Writes the checkpoint, which never goes back. One that comes less than 2 s after the last is written at the end of these 2 s, in the newest
   * state then; a `final` one is written at once. (Upstream drops it, so that the last ones of a quiet source never show.)
   */
  async publish(checkpointTs: bigint, final: boolean): Promise<void> {
    if (checkpointTs > this.#wantedTs) this.#wantedTs = checkpointTs;
    if (this.#publishedTs !== null && this.#wantedTs <= this.#publishedTs) return;
    // At most one interval, also when the wall clock was set back.
    const waitMs = Math.min(this.#publishedAt + PUBLISH_INTERVAL_MS - this.#clock.now(), PUBLISH_INTERVAL_MS);
    if (final || waitMs <= 0) return this.#write();
    this.#cancelTimer ??= this.#clock.after(waitMs, () => {
      this.#write().catch(this.#onFailure);
    });
  }

  /** Writes nothing further. */
  async close(): Promise<void> {
    this.#cancelTimer?.();
    await this.#writes.catch(() => {
      // Whoever asked for that write has heard of it.
    });
  }

  #write(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#writes = this.#writes.then(() => this.#measured(() => this.#writeWanted()));
    return this.#writes;
  }

  /** Whether it wrote: what is wanted may be there by now. */
  async #writeWanted(): Promise<boolean> {
    await this.#epoch?.check();
    for (;;) {
      const checkpointTs = this.#wantedTs;
      if (this.#publishedTs !== null && checkpointTs <= this.#publishedTs) return false;
      this.#publishedAt = this.#clock.now();
      const version = await this.#store.putIf(METADATA_PATH, [Buffer.from(stringifyMetadata(checkpointTs))], this.#version);
      if (version !== null) {
        this.#publishedTs = checkpointTs;
        this.#version = version;
        return true;
      }
      // The last one of the run before has come late, or another run has taken over.
      await this.#epoch?.check();
      const present = await this.#store.getVersioned(METADATA_PATH);
      this.#publishedTs = present === null ? null : parseMetadata(present.content.toString());
      this.#version = present?.version ?? null;
    }
  }
}

export interface RootParts {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly format: TargetFormat;
  readonly epoch?: Epoch;
  /** Hears of a write that failed and that nobody waited for. */
  readonly onFailure: (error: unknown) => void;
  /** Runs each write of `metadata`, which resolves to whether there was one. Default: without a word. */
  readonly measured?: (write: () => Promise<boolean>) => Promise<void>;
}

function checkFormat(store: ObjectStore, claimed: TargetIdentity, format: TargetFormat): void {
  const [remembered, given] = [canonicalText(claimed.format), canonicalText(format)];
  if (remembered !== given) throw new MillraceError('MR_TARGET_OF_ANOTHER_FORMAT', { uri: store.uri, remembered, format: given });
}
