import type { Table } from '../../../lib/events/index.ts';
import { dataDirectory, parseStoredJson } from '../../../lib/formats/storage-layout/index.ts';
import type { ObjectVersion } from '../../../lib/stores/index.ts';
import { DataDirectory } from '../../storage-writer/data-directory.ts';
import type { Target } from '../target.ts';

/** Which of a table version's date folders takes files, and by which run. */
export interface OpenFolder {
  readonly run: string;
  /** '' for the version's own folder. */
  readonly date: string;
  /** Of the object that says so. */
  readonly version: ObjectVersion;
}

/** `<version>[/<partition>]/meta/open.folder`, beside the folders of all dates: no name of a data file, an index or a schema file. */
function openFolderPath(table: Table, effective: bigint, target: Pick<Target, 'paths'>): string {
  return `${dataDirectory(table, effective, '', target.paths)}/meta/open.folder`;
}

/** Null where no run has said so: nothing has been written, or several write at once. @throws MR_STORAGE_FILE_MALFORMED */
export async function readOpenFolder(target: Target, table: Table, effective: bigint): Promise<OpenFolder | null> {
  if (target.epoch.run === null) return null;
  const path = openFolderPath(table, effective, target);
  const present = await target.store.getVersioned(path);
  if (present === null) return null;
  const { members, malformed } = parseStoredJson(present.content.toString(), path, 1);
  const { run, date } = members;
  if (typeof run !== 'string' || typeof date !== 'string') throw malformed('run or date is missing');
  return { run, date, version: present.version };
}

export interface FolderToWrite {
  readonly target: Target;
  readonly table: Table;
  /** The version whose folder it is in. */
  readonly effective: bigint;
  readonly date: string;
}

/**
 * Goes over to a folder, which the caller has opened already; `before` is what `readOpenFolder` gave just now. What an overtaken run may still have under way in
 * another one comes too late from now on (I9).
 *
 * A run says where it writes before it asks whether it still stands, and asks after it has opened the folder. So one that has asked in time, and was overtaken then, has
 * at most one file under way, in the folder that stands here: of the number behind the last that was there when the next run began. If that run writes there too, its own file
 * takes the number; else an empty one does. One that leaves a folder of its own asks before that too, when its last file there has come: one that was overtaken
 * stays where it is looked for.
 *
 * @throws MR_STALE_EPOCH; MR_FOREIGN_FILE when that file was published since this run looked.
 */
export async function goOverTo({ target, table, effective, date }: FolderToWrite, before: OpenFolder | null): Promise<void> {
  const { epoch, store, paths, cleanUp } = target;
  if (epoch.run === null) return;
  for (let open = before; ; open = await readOpenFolder(target, table, effective)) {
    if (open?.run === epoch.run && open.date === date) return;
    // It may be that of the next run, whose folder must stay open; or our own, where that may have looked before our last file came.
    if (open !== null) await epoch.check();
    if (open !== null && open.run !== epoch.run) {
      if (open.date !== date && cleanUp.takesRows(open.date)) {
        const path = dataDirectory(table, effective, open.date, paths);
        await DataDirectory.seal(target, path, table.dispatcher, target.encoder.header(table));
      }
    }
    const said = `${JSON.stringify({ v: 1, epoch: epoch.number, run: epoch.run, date })}\n`;
    if ((await store.putIf(openFolderPath(table, effective, target), [Buffer.from(said)], open?.version ?? null)) !== null) return;
  }
}
