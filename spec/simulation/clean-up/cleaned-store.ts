import { dateComponent } from '../../../lib/formats/storage-layout/index.ts';
import { MemoryStore, type ObjectBody, type ObjectVersion } from '../../../lib/stores/index.ts';
import type { Rule } from './rules.ts';

/** The objects of a target that is cleaned up: what is removed must have been written down as removed. */
export class CleanedStore extends MemoryStore {
  readonly #broken: (rule: Rule, reason: string) => void;
  readonly #keys = new Set<string>();
  /** Index files that ever were. */
  readonly #published = new Set<string>();
  #mark: Mark = { floor: '', folders: {} };
  /** The checkpoint in `metadata`. */
  publishedTs: bigint | null = null;

  constructor(broken: (rule: Rule, reason: string) => void) {
    super('cleaned');
    this.#broken = broken;
  }

  /** Files of a day before this one. */
  expiredBefore(timeMs: number): readonly string[] {
    const limit = dateComponent(timeMs, 'day');
    return [...this.#keys].filter((key) => {
      const day = DATED.exec(key)?.[2];
      return day !== undefined && day < limit;
    });
  }

  /** The commitTs of the last change that is written down as removed of a table; null for none. */
  removedUpTo(table: string): bigint | null {
    const folder = this.#mark.folders[`public/${table}`];
    return folder === undefined ? null : BigInt(folder.upTo[0]);
  }

  override async put(key: string, body: ObjectBody): Promise<void> {
    await super.put(key, body);
    await this.#written(key);
  }

  override async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    const isWritten = await super.putIfAbsent(key, body);
    if (isWritten) await this.#written(key);
    return isWritten;
  }

  override async putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    const version = await super.putIf(key, body, expected);
    if (version !== null) await this.#written(key);
    return version;
  }

  override async delete(key: string): Promise<void> {
    const [, folder, day] = DATED.exec(key) ?? [];
    if (folder === undefined || day === undefined) this.#broken('kept', `${key} is removed, which is no file of a day`);
    else if (day >= this.#mark.floor) this.#broken('told', `${key} is removed, and rows are written from ${this.#mark.floor} on`);
    else if (this.#isPublished(key) && day >= (this.#mark.folders[folder]?.before ?? ''))
      this.#broken('told', `${key} is removed, and the mark does not say so`);
    this.#keys.delete(key);
    await super.delete(key);
  }

  /** Whether readers were ever shown anything of its folder. */
  #isPublished(key: string): boolean {
    return this.#published.has(key.replace(/(?:\/meta)?\/CDC.*$/, '/meta/CDC.index'));
  }

  async #written(key: string): Promise<void> {
    this.#keys.add(key);
    if (key.endsWith('.index')) this.#published.add(key);
    const content = key === 'metadata' || key === 'meta/cleaned.json' ? String(await this.get(key)) : '';
    if (key === 'metadata') this.publishedTs = BigInt(/\d+/.exec(content)![0]);
    if (key !== 'meta/cleaned.json') return;
    const mark = JSON.parse(content) as Mark;
    for (const [folder, { before, upTo }] of Object.entries(this.#mark.folders)) {
      const now = mark.folders[folder];
      const goesBack = now === undefined || now.before < before || BigInt(now.upTo[0]) < BigInt(upTo[0]);
      if (goesBack || mark.floor < this.#mark.floor) this.#broken('told', `the mark goes back: ${JSON.stringify(now)} for ${folder}`);
    }
    this.#mark = mark;
  }
}

interface Mark {
  readonly floor: string;
  readonly folders: Readonly<Record<string, { readonly before: string; readonly upTo: readonly [commitTs: string, ordinal: number] }>>;
}

const DATED = /^([^/]+\/[^/]+)\/\d+\/(\d{4}-\d{2}-\d{2})\/(?:meta\/)?CDC/;
