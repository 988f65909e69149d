import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll } from '@jest/globals';
import { systemClock } from '../../../lib/flow/index.ts';
import { MemoryStore, openStore } from '../../../lib/stores/index.ts';
import {
  eventsFromObjects,
  eventsFromPostgres,
  objectStoreEvents,
  postgresEvents,
  type StoredEvent,
  stdoutEvents,
} from '../../../pipelines/index.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { all } from './events.ts';
import { describeEventHandler } from './handler-suite.ts';

const named = ({ table, type, id, row }: Pick<StoredEvent, 'table' | 'type' | 'id' | 'row'>) => `${table}/${type}/${id}/${row}`;

let server: TestPostgres;
let databases = 0;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});

describeEventHandler('postgresEvents', async () => {
  const url = await server.createDatabase(`handler_${++databases}`);
  return {
    handler: postgresEvents({ url }),
    rows: async () => (await all(eventsFromPostgres({ url, clock: systemClock }))).map(named),
  };
});

describeEventHandler('objectStoreEvents in memory', async () => {
  const store = new MemoryStore('handler');
  return { handler: objectStoreEvents({ store }), rows: async () => (await all(eventsFromObjects(store))).map(named) };
});

describeEventHandler('objectStoreEvents on a file system', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-handler-'));
  const uri = pathToFileURL(dir).href;
  const rows = async () => {
    const store = await openStore(uri, systemClock, 'read');
    return (await all(eventsFromObjects(store)).finally(() => store.close())).map(named);
  };
  return { handler: objectStoreEvents({ uri }), rows, close: () => rm(dir, { recursive: true, force: true }) };
});

describeEventHandler('stdoutEvents', async () => {
  let text = '';
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  const linesOf = (written: string) => written.split('\n').filter((line) => line !== '');
  const rowOf = (line: string) => {
    const { event_table: table, type, event_id: id, event_row: row } = JSON.parse(line) as Record<string, string>;
    return `${table}/${type}/${id}/${row}`;
  };
  // A stream cannot take back what it printed: its reader tells doubles by their id.
  return { handler: stdoutEvents({ stream }), rows: async () => [...new Set(linesOf(text).map(rowOf))] };
});
