import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { cli, startCli } from '../support/cli.ts';
import { Pipeline } from '../support/pipeline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';

/** What `verify` says of a difference: whether it is one, and why. */
describe('millrace verify', () => {
  let server: TestPostgres;
  let dir: string;

  beforeAll(async () => {
    server = await startPostgres();
    dir = await mkdtemp(join(tmpdir(), 'millrace-verify-'));
  });

  afterAll(async () => {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const verify = ({ url, target }: Pipeline, ...extra: string[]) => cli(['verify', '--from', url, '--to', target, ...extra]);
  const IDENTICAL_EVENTS = 'public.events\tidentical\t2\t2\t\n';

  it('says a true difference as one: at once, though nobody captures and some bytes of WAL lie behind the checkpoint', async () => {
    const pipeline = await Pipeline.create(server, 'true_difference', dir, cli);
    // Updates are not published, so no capture will ever mend what they make different.
    await pipeline.sql(`CREATE PUBLICATION true_difference FOR TABLE users, events WITH (publish = 'insert')`);
    await pipeline.succeeds(pipeline.catchUp());
    await pipeline.sql(`UPDATE users SET email = 'changed' WHERE id = 7`);
    const { code, stdout, stderr } = await verify(pipeline);
    expect({ code, stdout }).toEqual({
      code: 1,
      stdout: `${IDENTICAL_EVENTS}public.users\tdifferent\t50\t50\trow (id=7): email is changed, in the files u7\n`,
    });
    expect(stderr).toMatch(/the files have every change of a row: in the \d+ bytes of WAL behind their checkpoint there is none/);
    expect(stderr).not.toMatch(/waiting|are behind/);
    expect(stderr).toContain('comparing 2 tables of publication true_difference: public.events, public.users');
  }, 60_000);

  it('says a difference of files that lag with how far they do: a row, or a column that came since', async () => {
    const pipeline = await Pipeline.captured(server, 'late', dir, cli);
    await pipeline.sql('ALTER TABLE events ADD COLUMN more int DEFAULT 5');
    const { code, stdout, stderr } = await verify(pipeline, '--wait', '1s');
    expect({ code, stdout: stdout.replace(/\d+ bytes/g, 'N bytes') }).toEqual({
      code: 1,
      stdout:
        'public.events\tdifferent\t2\t2\trow (at=1, what=a, more=5) is in the source more often than in the files (the files are N bytes of WAL behind)\n' +
        'public.users\tdifferent\t51\t50\trow (id=100) is missing in the files (the files are N bytes of WAL behind)\n',
    });
    expect(stderr).toContain('what is not captured yet counts as different');
  }, 60_000);

  it('says of a table that the capture has stopped that it has, and how it goes on', async () => {
    const pipeline = await Pipeline.create(server, 'stopped', dir, cli);
    await pipeline.succeeds(pipeline.catchUp());
    await pipeline.sql(`ALTER TABLE users ALTER COLUMN email TYPE text USING upper(email)`);
    expect(await cli(pipeline.catchUp())).toMatchObject({ code: 1, stderr: expect.stringContaining('MR_TABLE_REWRITTEN') });
    const { code, stdout, stderr } = await verify(pipeline, '--state', pipeline.state);
    expect({ code, stdout }).toEqual({
      code: 1,
      stdout:
        `${IDENTICAL_EVENTS}public.users\tdifferent\t50\t50\tthe capture has stopped it (MR_TABLE_REWRITTEN): ` +
        'its rows may have changed without row events; take it again with --resnapshot public.users\n',
    });
    expect(stderr).toMatch(/"tables":"public\.users".*the capture has stopped these tables/);
    expect(stderr).not.toMatch(/waiting|are behind/);
    await pipeline.succeeds(pipeline.catchUp({}, '--resnapshot', 'public.users'));
    expect((await verify(pipeline, '--state', pipeline.state)).stdout).toBe(`${IDENTICAL_EVENTS}public.users\tidentical\t50\t50\t\n`);
  }, 90_000);

  it('waits for the columns that a capture which runs has not told of yet: they come with the next row, or the next look at the catalog', async () => {
    const pipeline = await Pipeline.create(server, 'new_column', dir, cli);
    const capturing = startCli(pipeline.capture());
    await pipeline.isStreaming(capturing.result);
    await pipeline.sql('ALTER TABLE events ADD COLUMN more int DEFAULT 5');
    const verifying = startCli(['verify', '--from', pipeline.url, '--to', pipeline.target]);
    await new Promise<void>((resolve) => {
      let said = '';
      verifying.child.stderr!.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        if (/a newer version of a table is on its way.*public\.events|"public\.events".*a newer version/.test(said)) resolve();
      });
      verifying.child.once('exit', () => resolve());
    });
    await pipeline.sql("INSERT INTO events VALUES (2, 'b', 6)");
    const { code, stdout } = await verifying.result;
    capturing.child.kill('SIGTERM');
    await capturing.result;
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'public.events\tidentical\t3\t3\t\npublic.users\tidentical\t50\t50\t\n' });
  }, 60_000);

  it('says of a table that is copied anew that the files are behind: its snapshot changes no row, and is not complete', async () => {
    const pipeline = await Pipeline.create(server, 'copied_anew', dir, cli);
    await pipeline.sql(`INSERT INTO users SELECT i, repeat('v', 4000) FROM generate_series(51, 10000) i`);
    await pipeline.succeeds(pipeline.catchUp());
    await pipeline.sql('ALTER TABLE users ALTER COLUMN email TYPE text USING upper(email)');
    expect(await cli(pipeline.catchUp())).toMatchObject({ code: 1, stderr: expect.stringContaining('MR_TABLE_REWRITTEN') });
    const copying = startCli(pipeline.catchUp({}, '--resnapshot', 'public.users'));
    const isCopying = () =>
      pipeline.sql(`SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE 'COPY %users%'
        AND wait_event = 'ClientWrite'`);
    while (copying.child.exitCode === null && (await isCopying()).length === 0) await sleep(5);
    copying.child.kill('SIGKILL');
    expect((await copying.result).code).toBeNull();
    const expectLag = async (difference: string, ...state: string[]) => {
      const { code, stdout, stderr } = await verify(pipeline, '--wait', '1s', ...state);
      const users = `public.users\tdifferent\t10000\t10000\t${difference} (the files are N bytes of WAL behind)\n`;
      expect({ code, stdout: stdout.replace(/\d+ bytes/g, 'N bytes') }).toEqual({ code: 1, stdout: `${IDENTICAL_EVENTS}${users}` });
      expect(stderr).not.toContain('the files have every change');
    };
    await expectLag("the table's snapshot is not complete at the target yet", '--state', pipeline.state);
    // Without the state: the copy's first file brings its version, beyond the checkpoint.
    const meta = join(pipeline.out, 'public/users/meta');
    await writeFile(join(meta, `schema_${2n ** 62n}_0000000000.json`), '{}');
    await expectLag('row (id=1): email is U1, in the files u1');
  }, 90_000);

  it('says of a published table that the capture does not have it', async () => {
    const pipeline = await Pipeline.create(server, 'partly', dir, cli);
    await pipeline.sql('CREATE PUBLICATION partly FOR ALL TABLES');
    await pipeline.succeeds(pipeline.catchUp({ '--tables': 'public.users' }));
    const { code, stdout } = await verify(pipeline, '--state', pipeline.state, '--wait', '1s');
    expect({ code, stdout }).toEqual({
      code: 1,
      stdout: expect.stringMatching(
        /^public\.events\tdifferent\t2\t0\tthe capture does not have it: its --tables leave it out, or it has not joined yet.*\npublic\.users\tidentical\t50\t50\t\n$/,
      ),
    });
  }, 60_000);

  describe('of a target that was captured', () => {
    let pipeline: Pipeline;

    beforeAll(async () => {
      pipeline = await Pipeline.create(server, 'kept', dir, cli);
      await pipeline.succeeds(pipeline.catchUp());
    }, 60_000);

    it.each<[string, string[], string]>([
      [
        'a publication that is not there',
        ['--publication', 'nope'],
        'option publication is "nope"; it must be a publication of the database',
      ],
      ['a folder without the state', ['--state', '/nowhere'], 'option state is "/nowhere"; it must be the state folder of the capture'],
    ])('%s is wrong usage: it would do nothing', async (_, args, message) => {
      const { code, stdout, stderr } = await verify(pipeline, ...args);
      expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: '', stderr: expect.stringContaining(`MR_INVALID_OPTION: ${message}`) });
    });
  });
});
