import type { ObjectStore } from '../../../lib/stores/index.ts';
import { all } from './events.ts';

/** The event of every row that a published file of events has, sorted: with doubles, which a reader would not show. */
export async function publishedIds(store: ObjectStore): Promise<string[]> {
  const ids: string[] = [];
  for (const { key } of await all(store.list(''))) {
    const match = /^(.+)\/meta\/(CDC_\w+)\.index$/.exec(key);
    if (match === null) continue;
    const newest = Number(/_(\d+)\.jsonl\n$/.exec((await store.get(key))!.toString())![1]);
    for (let number = 1; number <= newest; number++) {
      const content = await store.get(`${match[1]}/${match[2]}_${String(number).padStart(6, '0')}.jsonl`);
      for (const line of content!.toString().trimEnd().split('\n')) ids.push((JSON.parse(line) as { event_id: string }).event_id);
    }
  }
  return ids.sort();
}
