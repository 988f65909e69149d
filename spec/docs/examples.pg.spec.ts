import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { openStore } from '../../lib/stores/index.ts';
import { listTables, readTable } from '../../pipelines/index.ts';
import { documentedBlocks, EXAMPLES_PARENT, fileOf, writeModules } from '../support/examples.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { type S3Server, startS3 } from '../support/s3.ts';

describe('the pipeline in README.md', () => {
  let database: TestPostgres;
  let s3: S3Server;
  let dir: string;

  beforeAll(async () => {
    await mkdir(EXAMPLES_PARENT, { recursive: true });
    [database, s3, dir] = await Promise.all([startPostgres(), startS3('lake'), mkdtemp(join(EXAMPLES_PARENT, 'readme-'))]);
  }, 60_000);

  afterAll(async () => {
    await Promise.all([database?.stop(), s3?.close(), rm(dir, { recursive: true, force: true })]);
  });

  it('runs as it stands: the users arrive with their addresses hashed, the audit tables do not, and SIGTERM ends it in order', async () => {
    await database.query('CREATE TABLE users (id text PRIMARY KEY, email text)');
    await database.query('CREATE TABLE audit_log (id text PRIMARY KEY)');
    await database.query("INSERT INTO users VALUES ('1', 'ann@example.org')");
    await database.query("INSERT INTO audit_log VALUES ('1')");
    const block = (await documentedBlocks()).find(({ document, code }) => document === 'README.md' && code.includes('DATABASE_URL'))!;
    await writeModules(dir, [block]);
    const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), '--no-warnings', fileOf(block)], {
      cwd: dir,
      env: {
        ...process.env,
        ...s3.env,
        NODE_OPTIONS: '',
        TSX_TSCONFIG_PATH: join(dir, 'tsconfig.json'),
        DATABASE_URL: database.url,
        AWS_ENDPOINT_URL: s3.endpoint,
      },
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const exited = once(child, 'exit');
    const store = await openStore(s3.uri('cdc'));
    try {
      while (child.exitCode === null && !(await listTables(store)).some(({ table }) => table === 'users')) await sleep(100);
      child.kill('SIGTERM');
      expect({ exit: await exited, stderr }).toEqual({ exit: [0, null], stderr: expect.stringContaining('rows/s') });
      expect((await listTables(store)).map(({ table }) => table)).toEqual(['users']);
      const emails: unknown[] = [];
      for await (const changes of readTable(store, { schema: 'public', table: 'users' }))
        emails.push(...changes.map(({ data }) => data?.['email']));
      expect(emails).toEqual([createHash('sha256').update('ann@example.org').digest('hex')]);
    } finally {
      child.kill('SIGKILL');
      await store.close();
    }
  }, 60_000);
});
