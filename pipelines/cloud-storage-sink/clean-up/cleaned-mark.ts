import { comparePositions, MAX_ORDINAL, type Position } from '../../../lib/events/index.ts';
import { type JsonValue, stringifyJson } from '../../../lib/formats/json.ts';
import { isCount, parseCommitTs, parseStoredJson } from '../../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../../lib/stores/object-store.ts';

/** The object that says what clean-up has removed, written before anything is: what it names does not count any more, be it still there or not. */
export const CLEANED_PATH = 'meta/cleaned.json';

export interface CleanedMark {
  /** Rows are written below no earlier day than this. */
  readonly floor: string;
  /** By the folder of a table: `<schema>/<table>` as paths have it, or the table's id. */
  readonly folders: ReadonlyMap<string, CleanedFolder>;
}

export interface CleanedFolder {
  /** Data folders of an earlier day, `YYYY-MM-DD`, are gone or going. */
  readonly before: string;
  /** The last change that was published in them: a reader that was not here yet has missed changes. */
  readonly upTo: Position;
}

export const NOTHING_CLEANED: CleanedMark = { floor: '', folders: new Map() };

/** Throws MR_STORAGE_FILE_MALFORMED. */
export async function readCleanedMark(store: ObjectStore): Promise<CleanedMark> {
  const content = await store.get(CLEANED_PATH);
  return content === null ? NOTHING_CLEANED : parseCleanedMark(content.toString());
}

/**
 * Writes down what is going to be removed, beside what was: neither a day nor a position goes back, also where somebody else writes down something at the same time,
 * or a write comes late.
 */
export async function extendCleanedMark(store: ObjectStore, floor: string, more: ReadonlyMap<string, CleanedFolder>): Promise<CleanedMark> {
  for (;;) {
    const present = await store.getVersioned(CLEANED_PATH);
    const mark = addToMark(present === null ? NOTHING_CLEANED : parseCleanedMark(present.content.toString()), floor, more);
    const version = await store.putIf(CLEANED_PATH, [Buffer.from(stringifyCleanedMark(mark))], present?.version ?? null);
    if (version !== null) return mark;
  }
}

function addToMark(mark: CleanedMark, floor: string, more: ReadonlyMap<string, CleanedFolder>): CleanedMark {
  const folders = new Map(mark.folders);
  for (const [folder, { before, upTo }] of more) {
    const known = folders.get(folder);
    folders.set(folder, {
      before: known === undefined || known.before < before ? before : known.before,
      upTo: known === undefined || comparePositions(known.upTo, upTo) < 0 ? upTo : known.upTo,
    });
  }
  return { floor: mark.floor < floor ? floor : mark.floor, folders };
}

/** `{"v":1,"floor":"2026-11-10","folders":{"public/users":{"before":"2026-11-10","upTo":["<commitTs>",ordinal]}}}` */
function stringifyCleanedMark({ floor, folders }: CleanedMark): string {
  const members: [string, JsonValue][] = [];
  for (const [folder, { before, upTo }] of folders) members.push([folder, { before, upTo: [String(upTo.commitTs), upTo.ordinal] }]);
  return `${stringifyJson({ v: 1, floor, folders: Object.fromEntries(members) })}\n`;
}

function parseCleanedMark(content: string): CleanedMark {
  const { members, malformed } = parseStoredJson(content, CLEANED_PATH, 1);
  const { floor, folders } = members;
  if (typeof floor !== 'string' || typeof folders !== 'object' || folders === null) throw malformed('floor or folders is missing');
  const parsed = Object.entries(folders as Readonly<Record<string, unknown>>).map(([folder, value]): [string, CleanedFolder] => {
    const { before, upTo } = (value ?? {}) as { readonly before?: unknown; readonly upTo?: unknown };
    const [text, ordinal] = Array.isArray(upTo) ? (upTo as unknown[]) : [];
    const commitTs = parseCommitTs(text);
    if (typeof before !== 'string' || commitTs === null || !isCount(ordinal, MAX_ORDINAL)) {
      throw malformed(`${folder} has no day, or no position`);
    }
    return [folder, { before, upTo: { commitTs, ordinal } }];
  });
  return { floor, folders: new Map(parsed) };
}
