import { afterAll, beforeAll } from '@jest/globals';
import { postgres } from '../../../../lib/sources/postgres/index.ts';
import { describeSource, type SourceChange } from '../../../../lib/testing/index.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';

let server: TestPostgres;
let databases = 0;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

describeSource('postgres', async () => {
  const name = `conformance_${++databases}`;
  const url = await server.createDatabase(name);
  const query = (sql: string) => server.query(sql, [], name);
  await query('CREATE TABLE a (id text PRIMARY KEY, note text); CREATE TABLE b (LIKE a INCLUDING ALL); CREATE TABLE elsewhere (id int)');
  return {
    source: postgres({ url, slot: name, publication: name, tables: ['public.a', 'public.b'], watchInterval: '100ms' }),
    commit: async (changes) => {
      // Several statements in one query are one transaction.
      await query(changes.map(statementOf).join('; '));
    },
    commitElsewhere: async () => {
      await query('INSERT INTO elsewhere VALUES (1)');
    },
    close: async () => {},
  };
});

function statementOf(change: SourceChange): string {
  switch (change.op) {
    case 'insert':
      return `INSERT INTO ${change.table} VALUES (${text(change.id)}, ${text(change.note)})`;
    case 'update':
      return `UPDATE ${change.table} SET note = ${text(change.note)} WHERE id = ${text(change.id)}`;
    case 'delete':
      return `DELETE FROM ${change.table} WHERE id = ${text(change.id)}`;
    case 'truncate':
      return `TRUNCATE ${change.table}`;
  }
}

function text(value: string | null): string {
  return value === null ? 'NULL' : `'${value.replaceAll("'", "''")}'`;
}
