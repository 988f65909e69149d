import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ErrorCode } from '../../lib/errors.ts';
import { type CliResult, startCli } from '../support/cli.ts';
import { CliServer } from '../support/cli-server.ts';
import { errorsIn, Pipeline } from '../support/pipeline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { holdSlot } from '../support/slot-holder.ts';

/** The servers' password is `first-light`, that of roles and mistakes `hunter2`. */
const SECRETS = /first-light|hunter2/;
const IDENTICAL = { 'public.events': 'identical', 'public.users': 'identical' };

describe('bad input, end to end', () => {
  let server: TestPostgres;
  let second: TestPostgres;
  let dir: string;
  const commands = new CliServer();
  const { cli } = commands;
  /** Captured before; no case changes anything of it. */
  let kept: Pipeline;
  /** Nothing was ever captured of it, or is. */
  let fresh: Pipeline;
  let other: Pipeline;
  let idle: Pipeline;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'millrace-bad-'));
    [server, second] = await Promise.all([
      startPostgres({ settings: { wal_sender_timeout: '2s' } }),
      startPostgres({ settings: { wal_level: 'replica' } }),
    ]);
    fresh = await Pipeline.create(server, 'fresh', dir, cli);
    await server.query(`CREATE ROLE reader LOGIN PASSWORD 'hunter2'; CREATE ROLE copier LOGIN REPLICATION PASSWORD 'hunter2'`);
    kept = await Pipeline.captured(server, 'kept', dir, cli);
  }, 60_000);

  afterAll(async () => {
    await Promise.all([server.stop(), second.stop(), commands.close()]);
    await rm(dir, { recursive: true, force: true });
  });

  /** Fails with exactly this error, told once, and no secret in anything that was printed. */
  function expectError({ code, stdout, stderr }: CliResult, exitCode: number, errorCode: ErrorCode, words: readonly string[]): void {
    const errors = errorsIn(stderr);
    const said = words.filter((word) => errors.some(({ message }) => message.includes(word)));
    expect({ code, errors, said }).toEqual({ code: exitCode, errors: [{ code: errorCode, message: expect.any(String) }], said: words });
    expect(stdout + stderr).not.toMatch(SECRETS);
  }

  /** `expectError`, and the run has changed nothing: on the server, in the state, at the target. */
  async function expectRefusal(of: Pipeline, args: string[], errorCode: ErrorCode, words: readonly string[], exitCode = 1): Promise<void> {
    const before = await of.traces();
    const result = await cli(args);
    expectError(result, exitCode, errorCode, words);
    expect(await of.traces()).toEqual(before);
    expect(result.stdout).toBe('');
  }

  const urlWith = (of: Pipeline, parts: Partial<Pick<URL, 'username' | 'password' | 'hostname' | 'port' | 'pathname'>>) =>
    Object.assign(new URL(of.url), parts).href;

  describe('a first start', () => {
    it.each<[hazard: string, arrange: () => Promise<string[]> | string[], errorCode: ErrorCode, words: string[]]>([
      ['a wrong password', () => fresh.catchUp({ '--from': urlWith(fresh, { password: 'hunter2' }) }), 'MR_SOURCE_LOGIN_REFUSED', ['pg_hba.conf']],
      ['no password', () => fresh.catchUp({ '--from': urlWith(fresh, { password: '' }) }), 'MR_SOURCE_LOGIN_REFUSED', ['password']],
      ['a role that is not there', () => fresh.catchUp({ '--from': urlWith(fresh, { username: 'nobody' }) }), 'MR_SOURCE_LOGIN_REFUSED', ['nobody']],
      [
        'a host that is not there',
        () => fresh.catchUp({ '--from': urlWith(fresh, { hostname: 'no-such-host.invalid' }) }),
        'MR_SOURCE_UNREACHABLE',
        ['no-such-host.invalid', 'Check host and port'],
      ],
      ['a port where nobody listens', () => fresh.catchUp({ '--from': urlWith(fresh, { port: '1' }) }), 'MR_SOURCE_UNREACHABLE', ['127.0.0.1:1']],
      [
        'a database that is not there',
        () => fresh.catchUp({ '--from': urlWith(fresh, { pathname: '/nowhere' }) }),
        'MR_SOURCE_DATABASE_MISSING',
        ['nowhere', 'Correct the database'],
      ],
      [
        'a certificate that is not there',
        () => fresh.catchUp({ '--from': `${fresh.url}?sslrootcert=/not/there.pem` }),
        'MR_SOURCE_FAILED',
        ['/not/there.pem'],
      ],
      ['TLS that the server does not speak', () => fresh.catchUp({ '--from': `${fresh.url}?sslmode=require` }), 'MR_SOURCE_UNREACHABLE', ['SSL']],
      [
        'a role that may not replicate',
        () => fresh.catchUp({ '--from': urlWith(fresh, { username: 'reader', password: 'hunter2' }) }),
        'MR_NO_REPLICATION_RIGHT',
        ['ALTER ROLE reader REPLICATION'],
      ],
      ['patterns that no table matches', () => fresh.catchUp({ '--tables': 'shop.*' }), 'MR_NO_TABLES', ['shop.*']],
      [
        'tables without a replica identity',
        async () => {
          await fresh.sql('CREATE TABLE keyless (a int); CREATE TABLE "No Key" (a int, b int)');
          return fresh.catchUp();
        },
        'MR_NO_REPLICA_IDENTITY',
        ['"public"."No Key"', '"public"."keyless"', 'REPLICA IDENTITY FULL', 'primary key'],
      ],
      [
        'a publication that lacks a table',
        async () => {
          await fresh.sql('CREATE PUBLICATION narrow FOR TABLE users');
          return fresh.catchUp({ '--publication': 'narrow', '--tables': 'public.users,public.events' });
        },
        'MR_PUBLICATION_LACKS_TABLE',
        ['events', 'ALTER PUBLICATION "narrow" ADD TABLE'],
      ],
      [
        'a slot of another kind',
        async () => {
          await fresh.sql(`SELECT pg_create_physical_replication_slot('physical')`);
          return fresh.catchUp({ '--slot': 'physical', '--tables': 'public.users' });
        },
        'MR_SLOT_FOREIGN',
        ['physical', 'Use another slot name'],
      ],
      ['a slot of another database', () => fresh.catchUp({ '--slot': 'kept', '--tables': 'public.users' }), 'MR_SLOT_FOREIGN', ['kept', 'database']],
      [
        'a target below a regular file',
        async () => {
          await writeFile(join(dir, 'file'), '');
          return fresh.catchUp({ '--to': pathToFileURL(join(dir, 'file', 'out')).href });
        },
        'MR_STORE_UNWRITABLE',
        ['ENOTDIR', 'name another target'],
      ],
      ['a target that is a regular file', () => fresh.catchUp({ '--to': pathToFileURL(join(dir, 'file')).href }), 'MR_STORE_UNWRITABLE', ['EEXIST']],
      ['a target where the system takes no files', () => fresh.catchUp({ '--to': 'file:///proc/nowhere' }), 'MR_STORE_UNWRITABLE', ['/proc/nowhere']],
      [
        'a state folder below a regular file',
        () => fresh.catchUp({ '--state': join(dir, 'file', 'state') }),
        'MR_CHECKPOINT_UNWRITABLE',
        ['ENOTDIR', '--state'],
      ],
      ['a target that belongs to another pipeline', () => fresh.catchUp({ '--to': kept.target, '--tables': 'public.users' }), 'MR_STATE_MISSING', ['a target with changes']],
    ])('with %s is refused with a remedy, and creates nothing', async (_, arrange, errorCode, words) => {
      await expectRefusal(fresh, await arrange(), errorCode, words);
    }, 20_000);
  });

  describe('a later start', () => {
    const copied = async (name: string) => {
      const state = join(dir, name);
      await mkdir(state);
      await cp(kept.checkpointFile, join(state, 'kept.checkpoint.json'));
      return state;
    };
    const damaged = async (name: string, damage: (text: string) => string) => {
      const state = await copied(name);
      const file = join(state, 'kept.checkpoint.json');
      await writeFile(file, damage(await readFile(file, 'utf8')));
      return kept.catchUp({ '--state': state });
    };

    it.each<[hazard: string, arrange: () => Promise<string[]> | string[], errorCode: ErrorCode, words: string[]]>([
      ['a state that is gone while the slot is there', () => kept.catchUp({ '--state': join(dir, 'lost') }), 'MR_STATE_MISSING', ['the replication slot kept', 'teardown']],
      ['a target that is gone', () => kept.catchUp({ '--to': pathToFileURL(join(dir, 'gone')).href }), 'MR_TARGET_MISSING', ['the target is empty', 'teardown']],
      ['another database', () => kept.catchUp({ '--from': fresh.url }), 'MR_SOURCE_CHANGED', ['the database was kept and is fresh']],
      ['another publication', () => kept.catchUp({ '--publication': 'narrow' }), 'MR_SOURCE_CHANGED', ['the publication was kept and is narrow']],
      ['another row format', () => kept.catchUp({ '--protocol': 'csv' }), 'MR_TARGET_OF_ANOTHER_FORMAT', ['canal-json', 'csv', 'write to a new place']],
      ['a checkpoint that was cut', () => damaged('cut', (text) => text.slice(0, text.length / 2)), 'MR_CHECKPOINT_CORRUPT', ['kept.checkpoint.json', 'teardown']],
      ['an empty checkpoint', () => damaged('emptied', () => ''), 'MR_CHECKPOINT_CORRUPT', ['kept.checkpoint.json']],
      [
        'a checkpoint that was edited',
        () => damaged('edited', (text) => text.replace(/("checkpointTs": \d*)(\d)/, (_, head: string, digit: string) => head + ((Number(digit) + 1) % 10))),
        'MR_CHECKPOINT_CORRUPT',
        ['its checksum does not match'],
      ],
      ['a checkpoint of a later release', () => damaged('later', (text) => text.replace('"version": 1', '"version": 2')), 'MR_CHECKPOINT_CORRUPT', ['format version 2']],
    ])('with %s is refused with a remedy, and changes nothing', async (_, arrange, errorCode, words) => {
      await expectRefusal(kept, await arrange(), errorCode, words);
    }, 20_000);
  });

  it('a second capture of one state, and a teardown, are refused while the first runs, and do not disturb it', async () => {
    const { child, result } = startCli(kept.capture());
    try {
      await kept.isStreaming(result);
      expectError(await cli(kept.catchUp()), 1, 'MR_STATE_LOCKED', [`process ${child.pid}`, 'Stop that process first']);
      const teardown = ['teardown', '--from', kept.url, '--slot', 'kept', '--publication', 'kept'];
      expectError(await cli(teardown), 1, 'MR_SLOT_ACTIVE', ['kept', 'pg_terminate_backend']);
      await kept.sql(`INSERT INTO users VALUES (101, 'while others try')`);
    } finally {
      child.kill('SIGTERM');
    }
    expect((await result).code).toBe(0);
    await kept.succeeds(kept.catchUp());
    expect(await kept.verdicts()).toEqual(IDENTICAL);
  }, 60_000);

  it('P4: a slot that somebody else holds is tried until the server would have given a dead reader up, then its holder is named', async () => {
    const holder = await holdSlot(kept.url, 'kept');
    try {
      expectError(await cli(kept.catchUp()), 1, 'MR_SLOT_ACTIVE', [`in use by process ${holder.pid}`, 'pg_terminate_backend']);
    } finally {
      await holder.release();
    }
    await kept.succeeds(kept.catchUp());
    expect(await kept.verdicts()).toEqual(IDENTICAL);
  }, 60_000);

  describe('what was changed behind our back', () => {
    it.each<[hazard: string, name: string, sql: string[], errorCode: ErrorCode, words: string[]]>([
      ['a slot that was dropped', 'dropped', [`SELECT pg_drop_replication_slot('dropped')`], 'MR_SLOT_GONE', ['dropped', 'new target and state']],
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
      ['a publication that was dropped', 'unpublished', ['DROP PUBLICATION unpublished'], 'MR_PUBLICATION_GAP', ['it was dropped', 'teardown']],
      [
        'a publication that was dropped and created again',
        'republished',
        ['DROP PUBLICATION republished', 'CREATE PUBLICATION republished FOR TABLE users, events'],
        'MR_PUBLICATION_GAP',
        ['it was dropped and created again', '--resnapshot'],
      ],
    ])('P4, I6: %s is found at the next start, and nothing is moved', async (_, name, sql, errorCode, words) => {
      const pipeline = await Pipeline.captured(server, name, dir, cli);
      for (const statement of sql) await pipeline.sql(statement);
      await expectRefusal(pipeline, pipeline.catchUp(), errorCode, words);
    }, 30_000);

    it('P4: a table that was taken out and added again is found, and --resnapshot mends it', async () => {
      const pipeline = await Pipeline.captured(server, 'readded', dir, cli);
      await pipeline.sql('ALTER PUBLICATION readded DROP TABLE users');
      await pipeline.sql(`INSERT INTO users VALUES (200, 'unseen')`);
      await expectRefusal(pipeline, pipeline.catchUp(), 'MR_PUBLICATION_GAP', ['"public"."users"', 'taken out']);
      await pipeline.sql('ALTER PUBLICATION readded ADD TABLE users');
      await expectRefusal(pipeline, pipeline.catchUp(), 'MR_PUBLICATION_GAP', ['"public"."users"', 'added again', '--resnapshot']);
      await pipeline.succeeds(pipeline.catchUp({ '--resnapshot': 'public.users' }));
      expect(await pipeline.verdicts()).toEqual(IDENTICAL);
    }, 60_000);

    it('P4: a publication that is dropped while the capture runs ends it', async () => {
      const pipeline = await Pipeline.captured(server, 'midway', dir, cli);
      const { result } = startCli(pipeline.capture());
      await pipeline.isStreaming(result);
      await pipeline.sql('DROP PUBLICATION midway');
      await pipeline.sql(`INSERT INTO users VALUES (300, 'unpublished')`);
      expectError(await result, 1, 'MR_PUBLICATION_GAP', ['midway', 'teardown']);
    }, 60_000);
  });

  describe('rights that are missing', () => {
    it('a role that may not create the publication, and then not read a table, is told what to be granted, and goes on when it was', async () => {
      const pipeline = await Pipeline.create(server, 'rights', dir, cli);
      const from = urlWith(pipeline, { username: 'copier', password: 'hunter2' });
      expectError(await cli(pipeline.catchUp({ '--from': from })), 1, 'MR_SOURCE_PERMISSION', ['copier', 'create a publication', 'Grant it']);
      expect(await pipeline.traces()).toMatchObject({ slots: [], publications: [], files: {} });
      await pipeline.sql('CREATE PUBLICATION rights FOR TABLE users, events; GRANT SELECT ON events TO copier');
      expectError(await cli(pipeline.catchUp({ '--from': from })), 1, 'MR_SOURCE_PERMISSION', ['copier', 'users', 'SELECT']);
      await pipeline.sql('GRANT SELECT ON users TO copier');
      await pipeline.succeeds(pipeline.catchUp({ '--from': from }));
      expect(await pipeline.verdicts()).toEqual(IDENTICAL);
    }, 60_000);
  });

  describe('another server', () => {
    it.each<[settings: Record<string, string>, errorCode: ErrorCode, words: string[]]>([
      [{ wal_level: 'replica' }, 'MR_WAL_LEVEL', ['wal_level is replica', 'ALTER SYSTEM SET wal_level = logical']],
      [{ max_replication_slots: '1' }, 'MR_TOO_FEW_SLOTS', ['1 of 1 replication slots free', 'max_replication_slots']],
      [{ max_wal_senders: '1' }, 'MR_TOO_FEW_SENDERS', ['of 1 WAL senders free', 'max_wal_senders']],
    ])('with %j is refused, naming what to set', async (settings, errorCode, words) => {
      if (settings.wal_level === undefined) await second.restart('fast', settings);
      other ??= await Pipeline.create(second, 'other', dir, cli);
      await expectRefusal(other, other.catchUp(), errorCode, words);
    }, 30_000);

    it('P2: is not taken for the one that a state or a target belongs to', async () => {
      await second.restart('fast', {});
      await other.succeeds(other.catchUp());
      const elsewhere = other.url.replace('/other', '/kept');
      await Pipeline.create(second, 'kept', join(dir, 'second'), cli);
      await expectRefusal(kept, kept.catchUp({ '--from': elsewhere }), 'MR_SOURCE_CHANGED', ['the system identifier was']);
      await expectRefusal(kept, other.catchUp({ '--to': kept.target }), 'MR_TARGET_OF_ANOTHER_SOURCE', [kept.target, 'Write to a new place']);
      const { code, stdout, stderr } = await cli(['verify', '--from', elsewhere, '--to', kept.target]);
      expectError({ code, stdout, stderr }, 1, 'MR_TARGET_OF_ANOTHER_SOURCE', [kept.target]);
    }, 60_000);

    it('I6: that has invalidated the slot, for its WAL or for being idle, is not read on from', async () => {
      idle = await Pipeline.captured(second, 'idle', dir, cli);
      const invalidated = async (name: string, work: string[]) => {
        for (;;) {
          for (const sql of work) await second.query(sql);
          const [row] = await second.query<{ lost: boolean }>(
            `SELECT invalidation_reason IS NOT NULL AS lost FROM pg_replication_slots WHERE slot_name = '${name}'`,
          );
          if (row!.lost) return;
          await sleep(100);
        }
      };
      await second.query(`ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'`);
      await second.query('SELECT pg_reload_conf()');
      const segment = [`SELECT pg_logical_emit_message(true, 'filler', 'x')`, 'SELECT pg_switch_wal()'];
      await idle.succeeds(idle.catchUp());
      await invalidated('other', [...segment, ...segment, ...segment, 'CHECKPOINT']);
      await expectRefusal(other, other.catchUp(), 'MR_SLOT_INVALIDATED', ['wal_removed', 'max_slot_wal_keep_size', 'teardown']);
      await second.query('ALTER SYSTEM RESET max_slot_wal_keep_size');
      await second.query(`ALTER SYSTEM SET idle_replication_slot_timeout = '1s'`);
      await second.query('SELECT pg_reload_conf()');
      await invalidated('idle', ['CHECKPOINT']);
      await expectRefusal(idle, idle.catchUp(), 'MR_SLOT_INVALIDATED', ['idle', 'idle_replication_slot_timeout', 'teardown']);
    }, 60_000);
  });

  describe('the other commands', () => {
    it.each<[hazard: string, args: () => Promise<string[]> | string[], errorCode: ErrorCode, words: string[]]>([
      ['verify of a missing target', () => ['verify', '--from', kept.url, '--to', 'file:///not/there'], 'MR_STORE_NOT_FOUND', ['file:///not/there', 'capture wrote to']],
      [
        'verify of an empty target',
        async () => {
          await mkdir(join(dir, 'empty'));
          return ['verify', '--from', kept.url, '--to', pathToFileURL(join(dir, 'empty')).href, '--wait', '100ms'];
        },
        'MR_TARGET_LAGS',
        ['not there yet', 'See whether the capture runs'],
      ],
      ['verify with a wrong password', () => ['verify', '--from', urlWith(kept, { password: 'hunter2' }), '--to', kept.target], 'MR_SOURCE_LOGIN_REFUSED', ['pg_hba.conf']],
      ['verify of tables that are not there', () => ['verify', '--from', kept.url, '--to', kept.target, '--tables', 'shop.*'], 'MR_NO_TABLES', ['shop.*']],
      ['verify by a role that may not replicate', () => ['verify', '--from', urlWith(kept, { username: 'reader', password: 'hunter2' }), '--to', kept.target], 'MR_NO_REPLICATION_RIGHT', ['reader']],
      ['read of a missing target', () => ['read', '--to', 'file:///not/there'], 'MR_STORE_NOT_FOUND', ['file:///not/there']],
      ['read of a target that is a file', () => ['read', '--to', pathToFileURL(kept.checkpointFile).href], 'MR_STORE_NOT_FOUND', ['checkpoint.json']],
      ['read of a table that is not there', () => ['read', '--to', kept.target, '--table', 'public.orders'], 'MR_UNKNOWN_TABLE', ['public.users', 'public.events']],
      ['teardown with a wrong password', () => ['teardown', '--from', urlWith(kept, { password: 'hunter2' })], 'MR_SOURCE_LOGIN_REFUSED', ['pg_hba.conf']],
      ['teardown of a slot of another database', () => ['teardown', '--from', fresh.url, '--slot', 'kept'], 'MR_SLOT_FOREIGN', ['kept']],
      ['teardown of a physical slot', () => ['teardown', '--from', fresh.url, '--slot', 'physical'], 'MR_SLOT_FOREIGN', ['physical']],
    ])('%s is refused with a remedy, and changes nothing', async (_, args, errorCode, words) => {
      await expectRefusal(kept, await args(), errorCode, words);
    }, 20_000);

    it('read of an empty target prints nothing and says so; teardown where nothing is says that too', async () => {
      const [read, teardown] = await Promise.all([
        cli(['read', '--to', pathToFileURL(join(dir, 'empty')).href]),
        cli(['teardown', '--from', fresh.url, '--slot', 'none', '--publication', 'none']),
      ]);
      expect(read).toMatchObject({ code: 0, stdout: '', stderr: expect.stringContaining('no checkpoint yet') });
      expect(teardown).toMatchObject({ code: 0, stdout: 'slot\tnone\tabsent\npublication\tnone\tabsent\n' });
    });
  });
});
