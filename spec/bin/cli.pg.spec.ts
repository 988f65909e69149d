import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { openStore } from '../../lib/stores/index.ts';
import { cleanUp } from '../../pipelines/cloud-storage-sink/clean-up/clean-up.ts';
import { NOTHING_CLEANED } from '../../pipelines/cloud-storage-sink/clean-up/cleaned-mark.ts';
import { type CliResult, cli, cliHere, startCli } from '../support/cli.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { type S3Server, startS3 } from '../support/s3.ts';

describe('the command line', () => {
  let postgres: TestPostgres;
  let dir: string;
  let url: string;
  let database = '';
  let count = 0;

  beforeAll(async () => {
    postgres = await startPostgres();
    dir = await mkdtemp(join(tmpdir(), 'millrace-cli-'));
  });

  afterAll(async () => {
    await postgres.stop();
    await rm(dir, { recursive: true, force: true });
  });

  beforeEach(async () => {
    database = `cli${++count}`;
    url = await postgres.createDatabase(database);
    await sql(`CREATE TABLE users (id int PRIMARY KEY, email text); INSERT INTO users SELECT i, 'u' || i FROM generate_series(1, 100) i;
      CREATE TABLE events (at int, what text); ALTER TABLE events REPLICA IDENTITY FULL; INSERT INTO events VALUES (1, 'a'), (1, 'a')`);
  });

  const sql = (text: string) => postgres.query(text, [], database);
  const out = () => join(dir, database, 'out');
  const target = () => pathToFileURL(out()).href;
  const captureArgs = (...extra: string[]) => {
    const names = ['--slot', `${database}_slot`, '--publication', `${database}_pub`];
    return [
      'capture',
      '--from',
      url,
      '--to',
      target(),
      '--state',
      join(dir, database, 'state'),
      '--flush-interval',
      '200ms',
      ...names,
      ...extra,
    ];
  };
  const verify = (...extra: string[]) => cli(['verify', '--from', url, '--to', target(), ...extra]);
  const succeeded = ({ code, stderr }: CliResult) => expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  const checkpointOf = async () => {
    const text = await readFile(join(out(), 'metadata'), 'utf8').catch(() => null);
    return text === null ? 0n : BigInt(/\d+/.exec(text)![0]);
  };
  const isStreaming = async () =>
    (await sql('SELECT FROM pg_replication_slots WHERE active AND NOT temporary AND database = current_database()')).length > 0;
  /** Behind everything committed so far. */
  const walPosition = async () => {
    const [row] = await postgres.query<{ lsn: string }>(`SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS lsn`, [], database);
    return BigInt(row!.lsn);
  };
  /** Waits until the files hold everything committed so far. */
  const filesHaveAll = async () => {
    const position = await walPosition();
    while ((await checkpointOf()) < position - 1n) await sleep(50);
  };

  it('captures until caught up, verifies, reads, shows what differs, catches up again, and cleans up behind itself', async () => {
    const captured = await cli(captureArgs('--until-caught-up', '--events', url));
    succeeded(captured);
    expect(captured.stdout.split('\n').sort()).toEqual([
      '',
      expect.stringMatching(/^public\.events\t2\t1\t\d+$/),
      expect.stringMatching(/^public\.users\t100\t1\t\d+$/),
    ]);
    const verified = await verify();
    succeeded(verified);
    expect(verified.stdout).toBe('public.events\tidentical\t2\t2\t\npublic.users\tidentical\t100\t100\t\n');
    // The capture has drained: what lies behind is what opening the snapshot wrote.
    expect(verified.stderr).toMatch(
      /the files are caught up: no row of these tables differs\. Behind their checkpoint are \d+ bytes of WAL;/,
    );
    expect(verified.stderr).not.toMatch(/waiting|bytes of WAL behind/);

    await sql(`UPDATE users SET email = 'changed' WHERE id = 7; DELETE FROM events`);
    const behind = await verify('--wait', '1s');
    expect(behind.code).toBe(1);
    expect(behind.stdout.replace(/\d+ bytes of WAL/g, 'N')).toBe(
      'public.events\tdifferent\t0\t2\trow (at=1, what=a) is in the files more often than in the source (the files are N behind)\n' +
        'public.users\tdifferent\t100\t100\trow (id=7): email is changed, in the files u7 (the files are N behind)\n',
    );
    expect(behind.stderr).toContain('bytes of WAL behind');

    const eventFiles = pathToFileURL(join(dir, database, 'recorded')).href;
    succeeded(await cli(captureArgs('--until-caught-up', '--events', eventFiles, '--slow-threshold', '1ms')));
    // The tables of the first run's events are in the database, and no user's: captured with neither run.
    const verifiedAgain = await verify();
    succeeded(verifiedAgain);
    expect(verifiedAgain.stdout).toBe('public.events\tidentical\t0\t0\t\npublic.users\tidentical\t100\t100\t\n');
    const life = [
      'pipeline_started',
      'pipeline_running',
      'pipeline_caught_up',
      'pipeline_stopping',
      'pipeline_drained',
      'pipeline_stopped',
    ];
    const told = async (from: string, ...extra: string[]) => {
      const printed = await cliHere(['events', '--from', from, ...extra]);
      succeeded(printed);
      const events = printed.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as { type: string; payload: object });
      return { text: printed.stdout, events, lives: events.map(({ type }) => type).filter((type) => type.startsWith('pipeline_')) };
    };
    // The captured database has a table `events` of its own, which nobody touches.
    const first = await told(url);
    expect(first.lives).toEqual(life);
    expect(first.text).not.toContain('first-light');
    expect(first.events.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['slot_created', 'table_snapshot_completed', 'target_opened', 'schema_file_written']),
    );
    expect(first.events.at(-1)!.payload).toMatchObject({ pipeline: `${database}_slot`, drained: true, rows: 102 });
    const second = await told(eventFiles);
    expect(second.lives).toEqual(life);
    expect(second.events.map(({ type }) => type)).toContain('slow_operation');
    expect((await told(eventFiles, '--table', 'millrace_events', '--type', 'pipeline_stopped')).events).toHaveLength(1);
    const read = await cli(['read', '--to', target(), '--table', 'public.users']);
    succeeded(read);
    const lines = read.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toHaveLength(101);
    expect(lines[0]).toEqual({
      schema: 'public',
      table: 'users',
      op: 'I',
      commitTs: expect.stringMatching(/^\d+$/),
      ordinal: 0,
      old: null,
      data: { id: '1', email: 'u1' },
    });
    expect(lines[100]).toMatchObject({ op: 'U', ordinal: 0, data: { id: '7', email: 'changed' } });

    const store = await openStore(target());
    const job = {
      mark: NOTHING_CLEANED,
      before: '9999-01-01',
      publishedTs: await checkpointOf(),
      isStopped: () => false,
      onKept: () => {},
    };
    expect((await cleanUp({ store, ...job })).files).toBeGreaterThan(0);
    await store.close();
    const lacking = await verify('--tables', 'public.users');
    expect([lacking.code, lacking.stdout]).toEqual([
      1,
      expect.stringMatching(/^public\.users\tdifferent\t100\t0\tclean-up has removed its changes up to \d+\/0: .*--resnapshot/),
    ]);

    const names = ['--slot', `${database}_slot`, '--publication', `${database}_pub`];
    const removed = await cli(['teardown', '--from', url, ...names]);
    succeeded(removed);
    expect(removed.stdout).toBe(`slot\t${database}_slot\tdropped\npublication\t${database}_pub\tdropped\n`);
    const again = await cli(['teardown', '--from', url, ...names]);
    expect(again.stdout).toBe(`slot\t${database}_slot\tabsent\npublication\t${database}_pub\tabsent\n`);
  }, 120_000);

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'on %s drains, writes the final checkpoint and exits 0',
    async (signal) => {
      const { child, result } = startCli(captureArgs('--flush-interval', '10m'));
      while (!(await isStreaming())) await sleep(50);
      await sql(`INSERT INTO users VALUES (1000, 'last')`);
      const position = await walPosition();
      await waitForArrival(child, position - 1n);
      child.kill(signal);
      const { code, stderr } = await result;
      expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
      succeeded(await verify());
    },
    60_000,
  );

  it('waits for a capture that is started anew before it calls rows different', async () => {
    succeeded(await cli(captureArgs('--until-caught-up')));
    await sql(`UPDATE users SET email = 'since then' WHERE id = 7`);
    const verifying = startCli(['verify', '--from', url, '--to', target()]);
    for (let said = ''; !said.includes('nobody captures: waiting'); ) said += String(await once(verifying.child.stderr!, 'data'));
    const capturing = startCli(captureArgs());
    succeeded(await verifying.result);
    capturing.child.kill('SIGTERM');
    succeeded(await capturing.result);
  }, 60_000);

  it('says of a table that was neither copied nor changed that there is nothing of it', async () => {
    succeeded(await cli(captureArgs('--until-caught-up', '--snapshot', 'never')));
    const { code, stdout } = await verify('--wait', '1s', '--tables', 'public.users');
    expect({ code, stdout }).toEqual({
      code: 1,
      stdout: expect.stringMatching(/^public\.users\tdifferent\t100\t0\tthe target has nothing of it: no snapshot was taken of it/),
    });
  }, 60_000);

  it('warns of a pattern that fits no table that is compared: it may be misspelt', async () => {
    succeeded(await cli(captureArgs('--until-caught-up', '--tables', 'public.*')));
    const { code, stdout, stderr } = await verify('--tables', 'public.users,public.usres, shop.*,!public.tmp_*');
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'public.users\tidentical\t100\t100\t\n' });
    expect(stderr).toMatch(/"patterns":"public\.usres, shop\.\*".*no table that is compared fits these patterns/);
    expect((await verify('--tables', 'public.*,!public.events')).stderr).not.toContain('patterns');
  }, 60_000);

  it('verifies exactly while the database is written to and captured', async () => {
    const { child, result } = startCli(captureArgs());
    let isWriting = true;
    const writing = (async () => {
      for (let i = 0; isWriting; i++) {
        await sql(
          `INSERT INTO users VALUES (${1000 + i}, 'n'); UPDATE users SET email = 'w${i}' WHERE id = ${1 + (i % 100)}; INSERT INTO events VALUES (${i}, 'e')`,
        );
      }
    })();
    while ((await checkpointOf()) === 0n) await sleep(50);
    const verified = await verify('--wait', '20s');
    isWriting = false;
    await writing;
    expect({ code: verified.code, stdout: verified.code === 0 ? '' : verified.stdout + verified.stderr }).toEqual({ code: 0, stdout: '' });
    await filesHaveAll();
    child.kill('SIGTERM');
    expect((await result).code).toBe(0);
  }, 60_000);

  describe('on S3', () => {
    let s3: S3Server;

    beforeAll(async () => {
      s3 = await startS3();
    });

    afterAll(() => s3.close());

    it('says nothing but JSON lines on standard error where there is no terminal, the SDK included', async () => {
      const uri = s3.uri(database);
      const onS3 = (args: string[]) => args.map((arg) => (arg === target() ? uri : arg));
      for (const args of [
        captureArgs('--until-caught-up'),
        ['verify', '--from', url, '--to', target()],
        ['read', '--to', target(), '--table', 'public.users'],
      ]) {
        // As a user starts it: with warnings.
        const { code, stdout, stderr } = await startCli(onS3(args), s3.env, ['--trace-warnings']).result;
        expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining('users') });
        for (const line of stderr.split('\n').slice(0, -1)) expect(JSON.parse(line)).toMatchObject({ level: 'info' });
      }
    }, 60_000);

    it.each<[string, string[], NodeJS.Signals[], RegExp]>([
      ['a second signal ends it at once', [], ['SIGINT', 'SIGTERM'], /once more to stop at once/],
      ['a stop fails after --drain-timeout', ['--drain-timeout', '300ms'], ['SIGTERM'], /MR_DRAIN_TIMEOUT/],
    ])(
      'when the target does not answer, %s, with 1, and the next start goes on',
      async (_, extra, signals, message) => {
        const onS3 = (args: string[]) => args.map((arg) => (arg === target() ? s3.uri(database) : arg));
        succeeded(await cli(onS3(captureArgs('--until-caught-up')), s3.env));
        let release = () => {};
        const until = new Promise<void>((resolve) => {
          release = resolve;
        });
        const { child, result } = startCli(onS3(captureArgs('--flush-interval', '10m', ...extra)), s3.env);
        while (!(await isStreaming())) await sleep(50);
        s3.inject({ kind: 'hold', until }, { method: 'PUT', times: 1000 });
        await sql(`UPDATE users SET email = 'late' WHERE id = 9`);
        await waitForArrival(child, (await walPosition()) - 1n);
        let said = '';
        child.stderr!.on('data', (chunk: Buffer) => {
          said += chunk.toString();
        });
        for (const signal of signals) {
          child.kill(signal);
          while (!said.includes('once more to stop at once')) await sleep(20);
        }
        const { code, stderr } = await result;
        expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(message) });
        s3.heal();
        release();
        succeeded(await cli(onS3(captureArgs('--until-caught-up')), s3.env));
        const { stdout } = await cli(['verify', '--from', url, '--to', s3.uri(database)], s3.env);
        expect(stdout).toBe('public.events\tidentical\t2\t2\t\npublic.users\tidentical\t100\t100\t\n');
      },
      60_000,
    );
  });

  it.each<[string, () => string[], number, RegExp]>([
    ['a wrong password', () => captureArgs().map((arg) => arg.replace(/:[^:@]+@/, ':hunter2@')), 1, /MR_SOURCE_LOGIN_REFUSED/],
    [
      'a database that is not there',
      () => captureArgs().map((arg) => arg.replace(`/${database}`, arg.startsWith('postgres') ? '/nowhere' : `/${database}`)),
      1,
      /MR_SOURCE_DATABASE_MISSING/,
    ],
    ['a server that is not there', () => captureArgs().map((arg) => arg.replace(/@[^/]+\//, '@127.0.0.1:1/')), 1, /MR_SOURCE_UNREACHABLE/],
    [
      'a target that cannot be written',
      () => captureArgs().map((arg) => (arg === target() ? pathToFileURL(import.meta.filename).href : arg)),
      1,
      /MR_STORE_/,
    ],
    ['no table', () => captureArgs('--tables', 'nothing.*'), 1, /MR_NO_TABLES/],
    ['a table to take again that is not there', () => captureArgs('--resnapshot', 'public.user'), 2, /resnapshot is .+public\.user/],
    ['a wrong slot name', () => captureArgs('--slot', 'Not A Slot'), 2, /option slot is/],
    ['a target that was never captured into', () => ['verify', '--from', url, '--to', target()], 1, /MR_STORE_NOT_FOUND/],
  ])('%s is a clear error with its exit code, and no password', async (_, args, code, message) => {
    const result = await cli(args());
    expect({ code: result.code, stderr: result.stderr }).toEqual({ code, stderr: expect.stringMatching(message) });
    expect(result.stderr).not.toMatch(/hunter2|first-light/);
    expect(result.stdout).toBe('');
  });

  /** The status lines of a capture, until it has received everything up to here. */
  async function waitForArrival(child: ReturnType<typeof startCli>['child'], ts: bigint): Promise<void> {
    let text = '';
    for (;;) {
      const [chunk] = (await once(child.stderr!, 'data')) as [Buffer];
      text += chunk.toString();
      for (const line of text.split('\n').slice(0, -1)) {
        const { resolvedTs } = JSON.parse(line) as { resolvedTs?: string };
        if (resolvedTs !== undefined && BigInt(resolvedTs) >= ts) return;
      }
    }
  }
});
