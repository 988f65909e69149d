import { crc32Of } from '../../lib/formats/checksum.ts';
import { expandRuns, type Positions, parseIndexFile, parsePositions } from '../../lib/formats/storage-layout/index.ts';
import { contentVersion } from '../../lib/stores/content-version.ts';
import type { ObjectStore } from '../../lib/stores/index.ts';

/** What index files publish at a target of canal-json, in whatever folder: `<commitTs>/<ordinal> <id of the row>` of each row, in the order of positions. */
export async function publishedRows(store: ObjectStore): Promise<string[]> {
  const rows: { commitTs: bigint; ordinal: number; text: string }[] = [];
  for (const { content, positions } of (await publishedFiles(store)).values()) {
    const lines = content
      .toString()
      .split('\r\n')
      .filter((line) => line !== '');
    const places = [...expandRuns(positions.runs)];
    if (places.length !== lines.length) throw new Error(`${lines.length} rows at ${places.length} positions`);
    for (const [i, line] of lines.entries()) {
      const { data } = JSON.parse(line) as { data: [{ id: string }] };
      rows.push({ ...places[i]!, text: `${places[i]!.commitTs}/${places[i]!.ordinal} ${data[0].id}` });
    }
  }
  return rows
    .sort((a, b) => (a.commitTs === b.commitTs ? a.ordinal - b.ordinal : a.commitTs < b.commitTs ? -1 : 1))
    .map(({ text }) => text);
}

/** Everything that a reader goes by, by key, short: index files, the files that they name with what describes them, schema files and the checkpoint. */
export async function publishedState(store: ObjectStore): Promise<Record<string, string>> {
  const state: Record<string, string> = {};
  for await (const { key } of store.list('')) {
    if (key.endsWith('.index') || key === 'metadata' || key.includes('/meta/schema_')) state[key] = String(await store.get(key));
  }
  for (const [path, { content, positions }] of await publishedFiles(store)) {
    state[path] = contentVersion(content);
    state[`${path}: positions`] = JSON.stringify(positions.runs.map(({ commitTs, first, last }) => [String(commitTs), first, last]));
  }
  return state;
}

async function publishedFiles(store: ObjectStore): Promise<Map<string, { content: Buffer; positions: Positions }>> {
  const files = new Map<string, { content: Buffer; positions: Positions }>();
  const indexes: string[] = [];
  for await (const { key } of store.list('')) if (key.endsWith('.index')) indexes.push(key);
  for (const index of indexes) {
    const name = String(await store.get(index)).trimEnd();
    const last = parseIndexFile(`${name}\n`, '.json', index);
    const directory = index.slice(0, index.indexOf('/meta/CDC'));
    for (let number = 1; number <= last; number++) {
      const stem = name.slice(0, -'.json'.length).replace(/\d+$/, (digits) => String(number).padStart(digits.length, '0'));
      const [content, sidecar] = [await store.get(`${directory}/${stem}.json`), await store.get(`${directory}/meta/${stem}.positions`)];
      if (content === null || sidecar === null) throw new Error(`${directory}/${stem}.json is named by its index, and is not there`);
      const { alternatives = [], ...first } = parsePositions(sidecar.toString(), stem);
      const positions = [first, ...alternatives].find((one) => one.bytes === content.length && one.crc32 === crc32Of(content));
      if (positions === undefined) throw new Error(`${directory}/${stem}.json is not what its sidecar describes`);
      files.set(`${directory}/${stem}.json`, { content, positions });
    }
  }
  return files;
}
