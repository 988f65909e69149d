import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ErrorCode } from '../../lib/errors.ts';
import { startCli } from '../support/cli.ts';
import { CliServer } from '../support/cli-server.ts';
import { Pipeline } from '../support/pipeline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { expectError, expectRefusal, IDENTICAL } from '../support/refusals.ts';

describe('what was changed behind our back', () => {
  let server: TestPostgres;
  let dir: string;
  const commands = new CliServer();
  const { cli } = commands;

  beforeAll(async () => {
    server = await startPostgres();
    dir = await mkdtemp(join(tmpdir(), 'millrace-behind-'));
  });

  afterAll(async () => {
    await Promise.all([server.stop(), commands.close()]);
    await rm(dir, { recursive: true, force: true });
  });

  it.each<[hazard: string, name: string, sql: string[], errorCode: ErrorCode, words: string[]]>([
    [
      'a slot that was dropped',
      'dropped',
      [`SELECT pg_drop_replication_slot('dropped')`],
      'MR_SLOT_GONE',
      ['dropped', 'new target and state'],
    ],
    [
      'a slot that was dropped and made again',
      'remade',
      [`SELECT pg_drop_replication_slot('remade')`, `SELECT pg_create_logical_replication_slot('remade', 'pgoutput')`],
      'MR_SLOT_ADVANCED',
      ['remade', 'beyond the checkpoint'],
    ],
    [
      'a slot that somebody read',
      'taken',
      // The change, which was committed asynchronously, is read when it is on the server's disk.
      ['CHECKPOINT', `SELECT pg_replication_slot_advance('taken', pg_current_wal_flush_lsn())`],
      'MR_SLOT_ADVANCED',
      ['taken', 'beyond the checkpoint'],
    ],
    [
      'a publication that was dropped',
      'unpublished',
      ['DROP PUBLICATION unpublished'],
      'MR_PUBLICATION_GAP',
      ['it was dropped', 'teardown'],
    ],
    [
      'a publication that was dropped and created again',
      'republished',
      ['DROP PUBLICATION republished', 'CREATE PUBLICATION republished FOR TABLE users, events'],
      'MR_PUBLICATION_GAP',
      ['it was dropped and created again', '--resnapshot'],
    ],
  ])(
    'P4, I6: %s is found at the next start, and nothing is moved',
    async (_, name, sql, errorCode, words) => {
      const pipeline = await Pipeline.captured(server, name, dir, cli);
      for (const statement of sql) await pipeline.sql(statement);
      await expectRefusal(cli, pipeline, pipeline.catchUp(), errorCode, words);
    },
    30_000,
  );

  it('P4: a table that was taken out and added again is found, and --resnapshot mends it', async () => {
    const pipeline = await Pipeline.captured(server, 'readded', dir, cli);
    await pipeline.sql('ALTER PUBLICATION readded DROP TABLE users');
    await pipeline.sql(`INSERT INTO users VALUES (200, 'unseen')`);
    await expectRefusal(cli, pipeline, pipeline.catchUp(), 'MR_PUBLICATION_GAP', ['public.users', 'taken out']);
    await pipeline.sql('ALTER PUBLICATION readded ADD TABLE users');
    await expectRefusal(cli, pipeline, pipeline.catchUp(), 'MR_PUBLICATION_GAP', ['public.users', 'added again', '--resnapshot']);
    await pipeline.succeeds(pipeline.catchUp({ '--resnapshot': 'public.users' }));
    expect(await pipeline.verdicts()).toEqual(IDENTICAL);
  }, 60_000);

  it('P4: a slip in --tables at a later start is refused, and takes no table out of the publication', async () => {
    const pipeline = await Pipeline.captured(server, 'mistyped', dir, cli);
    const published = () => pipeline.sql(`SELECT tablename FROM pg_publication_tables WHERE pubname = 'mistyped' ORDER BY 1`);
    const before = await published();
    expect(before).toHaveLength(2);
    await expectRefusal(cli, pipeline, pipeline.catchUp({ '--tables': 'public.user' }), 'MR_NO_TABLES', ['public.user']);
    expect(await published()).toEqual(before);
  }, 30_000);

  it('P4: a publication that is dropped while the capture runs ends it', async () => {
    const pipeline = await Pipeline.captured(server, 'midway', dir, cli);
    const { result } = startCli(pipeline.capture());
    await pipeline.isStreaming(result);
    await pipeline.sql('DROP PUBLICATION midway');
    await pipeline.sql(`INSERT INTO users VALUES (300, 'unpublished')`);
    expectError(await result, 'MR_PUBLICATION_GAP', ['midway', 'teardown']);
  }, 60_000);
});
