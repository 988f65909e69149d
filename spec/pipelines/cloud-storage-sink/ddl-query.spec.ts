import { describe, expect, it } from '@jest/globals';
import { type DdlEvent, ddlEvent } from '../../../lib/events/index.ts';
import { isSchemaFilePath, parseSchemaFile, stringifySchemaFile } from '../../../lib/formats/storage-layout/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { readTable } from '../../../pipelines/index.ts';
import { runSink, table } from '../../support/sink-world.ts';

const SECRET = "ALTER TABLE users ADD COLUMN name text DEFAULT 'hunter2' -- <&>\u2028";

/** What a schema change leaves at the target: the schema file's path and content. */
async function written(parts: Partial<DdlEvent>, outputDdlQuery?: boolean) {
  const store = new MemoryStore();
  const of = table('users', 10n, ['id', 'name'], ['id']);
  const change = () =>
    ddlEvent({ position: { commitTs: 10n, ordinal: 0 }, commitTimeUs: 0n, table: of, query: 'ALTER TABLE made', action: 5, ...parts });
  const { error } = await runSink(
    store,
    [{ commitTs: 10n, events: () => [change()] }],
    outputDdlQuery === undefined ? {} : { outputDdlQuery },
  );
  expect(error).toBeNull();
  for await (const { key } of store.list('public/')) {
    if (isSchemaFilePath(key)) return { path: key, content: String(await store.get(key)), store };
  }
  throw new Error('no schema file');
}

/** spec storage-sink §5.4 */
describe('Query of a schema file', () => {
  it.each<[string, string | null, boolean | undefined, string]>([
    ['is the statement that was made, though the text is known: it can hold secrets', SECRET, undefined, 'ALTER TABLE made'],
    ['is that when it is said so', SECRET, false, 'ALTER TABLE made'],
    ['is what the user sent with output-ddl-query', SECRET, true, SECRET],
    ['is the one that was made where no text is known', null, true, 'ALTER TABLE made'],
  ])('%s', async (_title, statement, outputDdlQuery, expected) => {
    const { path, content, store } = await written({ statement }, outputDdlQuery);
    const file = parseSchemaFile(content, path);
    expect([file.Query, file.Type]).toEqual([expected, 5]);
    expect(stringifySchemaFile(file)).toBe(content);
    // The name holds the checksum: the text does not count in it.
    expect(path).toBe((await written({ statement: null })).path);
    for await (const changes of readTable(store, { schema: 'public', table: 'users' })) expect(changes).toEqual([]);
  });
});
