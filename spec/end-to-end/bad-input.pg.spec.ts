import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ErrorCode } from '../../lib/errors.ts';
import { startCli } from '../support/cli.ts';
import { CliServer } from '../support/cli-server.ts';
import { Pipeline } from '../support/pipeline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { expectError, expectRefusal, IDENTICAL } from '../support/refusals.ts';
import { holdSlot } from '../support/slot-holder.ts';

describe('bad input, end to end', () => {
  let server: TestPostgres;
  let dir: string;
  const commands = new CliServer();
  const { cli } = commands;
  /** Captured before; no case changes anything of it. */
  let kept: Pipeline;
  /** Nothing was ever captured of it, or is. */
  let fresh: Pipeline;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'millrace-bad-'));
    server = await startPostgres({ settings: { wal_sender_timeout: '2s' } });
    fresh = await Pipeline.create(server, 'fresh', dir, cli);
    await server.query(`CREATE ROLE reader LOGIN PASSWORD 'hunter2'; CREATE ROLE copier LOGIN REPLICATION PASSWORD 'hunter2'`);
    kept = await Pipeline.captured(server, 'kept', dir, cli);
  }, 60_000);

  afterAll(async () => {
    await Promise.all([server.stop(), commands.close()]);
    await rm(dir, { recursive: true, force: true });
  });

  const urlWith = (of: Pipeline, parts: Partial<Pick<URL, 'username' | 'password' | 'hostname' | 'port' | 'pathname'>>) =>
    Object.assign(new URL(of.url), parts).href;

  describe('a first start', () => {
    it.each<[hazard: string, arrange: () => Promise<string[]> | string[], errorCode: ErrorCode, words: string[]]>([
      [
        'a wrong password',
        () => fresh.catchUp({ '--from': urlWith(fresh, { password: 'hunter2' }) }),
        'MR_SOURCE_LOGIN_REFUSED',
        ['pg_hba.conf'],
      ],
      ['no password', () => fresh.catchUp({ '--from': urlWith(fresh, { password: '' }) }), 'MR_SOURCE_LOGIN_REFUSED', ['password']],
      [
        'a role that is not there',
        () => fresh.catchUp({ '--from': urlWith(fresh, { username: 'nobody' }) }),
        'MR_SOURCE_LOGIN_REFUSED',
        ['nobody'],
      ],
      [
        'a host that is not there',
        () => fresh.catchUp({ '--from': urlWith(fresh, { hostname: 'no-such-host.invalid' }) }),
        'MR_SOURCE_UNREACHABLE',
        ['no-such-host.invalid', 'Check host and port'],
      ],
      [
        'a port where nobody listens',
        () => fresh.catchUp({ '--from': urlWith(fresh, { port: '1' }) }),
        'MR_SOURCE_UNREACHABLE',
        ['127.0.0.1:1'],
      ],
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
      [
        'TLS that the server does not speak',
        () => fresh.catchUp({ '--from': `${fresh.url}?sslmode=require` }),
        'MR_SOURCE_UNREACHABLE',
        ['SSL'],
      ],
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
        ['public."No Key"', 'public.keyless', 'REPLICA IDENTITY FULL', 'primary key'],
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
      [
        'a slot of another database',
        () => fresh.catchUp({ '--slot': 'kept', '--tables': 'public.users' }),
        'MR_SLOT_FOREIGN',
        ['kept', 'database'],
      ],
      [
        'a target below a regular file',
        async () => {
          await writeFile(join(dir, 'file'), '');
          return fresh.catchUp({ '--to': pathToFileURL(join(dir, 'file', 'out')).href });
        },
        'MR_STORE_UNWRITABLE',
        ['ENOTDIR', 'name another target'],
      ],
      [
        'a target that is a regular file',
        () => fresh.catchUp({ '--to': pathToFileURL(join(dir, 'file')).href }),
        'MR_STORE_UNWRITABLE',
        ['EEXIST'],
      ],
      [
        'a target where the system takes no files',
        () => fresh.catchUp({ '--to': 'file:///proc/nowhere' }),
        'MR_STORE_UNWRITABLE',
        ['/proc/nowhere'],
      ],
      [
        'a state folder below a regular file',
        () => fresh.catchUp({ '--state': join(dir, 'file', 'state') }),
        'MR_CHECKPOINT_UNWRITABLE',
        ['ENOTDIR', '--state'],
      ],
      [
        'a target that belongs to another pipeline',
        () => fresh.catchUp({ '--to': kept.target, '--tables': 'public.users' }),
        'MR_STATE_MISSING',
        ['a target with changes'],
      ],
    ])(
      'with %s is refused with a remedy, and creates nothing',
      async (_, arrange, errorCode, words) => {
        await expectRefusal(cli, fresh, await arrange(), errorCode, words);
      },
      20_000,
    );
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
      [
        'a state that is gone while the slot is there',
        () => kept.catchUp({ '--state': join(dir, 'lost') }),
        'MR_STATE_MISSING',
        ['the replication slot kept', 'teardown'],
      ],
      [
        'a target that is gone',
        () => kept.catchUp({ '--to': pathToFileURL(join(dir, 'gone')).href }),
        'MR_TARGET_MISSING',
        ['the target is empty', 'teardown'],
      ],
      ['another database', () => kept.catchUp({ '--from': fresh.url }), 'MR_SOURCE_CHANGED', ['the database was kept and is fresh']],
      [
        'another publication',
        () => kept.catchUp({ '--publication': 'narrow' }),
        'MR_SOURCE_CHANGED',
        ['the publication was kept and is narrow'],
      ],
      [
        'another row format',
        () => kept.catchUp({ '--protocol': 'csv' }),
        'MR_TARGET_OF_ANOTHER_FORMAT',
        ['canal-json', 'csv', 'write to a new place'],
      ],
      [
        'a checkpoint that was cut',
        () => damaged('cut', (text) => text.slice(0, text.length / 2)),
        'MR_CHECKPOINT_CORRUPT',
        ['kept.checkpoint.json', 'teardown'],
      ],
      ['an empty checkpoint', () => damaged('emptied', () => ''), 'MR_CHECKPOINT_CORRUPT', ['kept.checkpoint.json']],
      [
        'a checkpoint that was edited',
        () =>
          damaged('edited', (text) =>
            text.replace(/("checkpointTs": \d*)(\d)/, (_, head: string, digit: string) => head + ((Number(digit) + 1) % 10)),
          ),
        'MR_CHECKPOINT_CORRUPT',
        ['its checksum does not match'],
      ],
      [
        'a checkpoint of a later release',
        () => damaged('later', (text) => text.replace('"version": 1', '"version": 2')),
        'MR_CHECKPOINT_CORRUPT',
        ['format version 2'],
      ],
    ])(
      'with %s is refused with a remedy, and changes nothing',
      async (_, arrange, errorCode, words) => {
        await expectRefusal(cli, kept, await arrange(), errorCode, words);
      },
      20_000,
    );
  });

  it('a second capture of one state, and a teardown, are refused while the first runs, and do not disturb it', async () => {
    const { child, result } = startCli(kept.capture());
    try {
      await kept.isStreaming(result);
      expectError(await cli(kept.catchUp()), 'MR_STATE_LOCKED', [`process ${child.pid}`, 'Stop that process first']);
      const teardown = ['teardown', '--from', kept.url, '--slot', 'kept', '--publication', 'kept'];
      expectError(await cli(teardown), 'MR_SLOT_ACTIVE', ['kept', 'pg_terminate_backend']);
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
      expectError(await cli(kept.catchUp()), 'MR_SLOT_ACTIVE', [`in use by process ${holder.pid}`, 'pg_terminate_backend']);
    } finally {
      await holder.release();
    }
    await kept.succeeds(kept.catchUp());
    expect(await kept.verdicts()).toEqual(IDENTICAL);
  }, 60_000);

  describe('rights that are missing', () => {
    it('a role that may not create the publication, and then not read a table, is told what to be granted, and goes on when it was', async () => {
      const pipeline = await Pipeline.create(server, 'rights', dir, cli);
      const from = urlWith(pipeline, { username: 'copier', password: 'hunter2' });
      expectError(await cli(pipeline.catchUp({ '--from': from })), 'MR_SOURCE_PERMISSION', ['copier', 'create a publication', 'Grant it']);
      expect(await pipeline.traces()).toMatchObject({ slots: [], publications: [], files: {} });
      await pipeline.sql('CREATE PUBLICATION rights FOR TABLE users, events; GRANT SELECT ON events TO copier');
      expectError(await cli(pipeline.catchUp({ '--from': from })), 'MR_SOURCE_PERMISSION', ['copier', 'users', 'SELECT']);
      await pipeline.sql('GRANT SELECT ON users TO copier');
      await pipeline.succeeds(pipeline.catchUp({ '--from': from }));
      expect(await pipeline.verdicts()).toEqual(IDENTICAL);
    }, 60_000);
  });

  describe('the other commands', () => {
    it.each<[hazard: string, args: () => Promise<string[]> | string[], errorCode: ErrorCode, words: string[]]>([
      [
        'verify of a missing target',
        () => ['verify', '--from', kept.url, '--to', 'file:///not/there'],
        'MR_STORE_NOT_FOUND',
        ['file:///not/there', 'capture wrote to'],
      ],
      [
        'verify of an empty target',
        async () => {
          await mkdir(join(dir, 'empty'));
          return ['verify', '--from', kept.url, '--to', pathToFileURL(join(dir, 'empty')).href, '--wait', '100ms'];
        },
        'MR_TARGET_LAGS',
        ['not there yet', 'See whether the capture runs'],
      ],
      [
        'verify with a wrong password',
        () => ['verify', '--from', urlWith(kept, { password: 'hunter2' }), '--to', kept.target],
        'MR_SOURCE_LOGIN_REFUSED',
        ['pg_hba.conf'],
      ],
      [
        'verify of tables that are not there',
        () => ['verify', '--from', kept.url, '--to', kept.target, '--tables', 'shop.*'],
        'MR_NO_TABLES',
        ['shop.*'],
      ],
      [
        'verify by a role that may not replicate',
        () => ['verify', '--from', urlWith(kept, { username: 'reader', password: 'hunter2' }), '--to', kept.target],
        'MR_NO_REPLICATION_RIGHT',
        ['reader'],
      ],
      ['read of a missing target', () => ['read', '--to', 'file:///not/there'], 'MR_STORE_NOT_FOUND', ['file:///not/there']],
      [
        'read of a target that is a file',
        () => ['read', '--to', pathToFileURL(kept.checkpointFile).href],
        'MR_STORE_NOT_FOUND',
        ['checkpoint.json'],
      ],
      [
        'read of a table that is not there',
        () => ['read', '--to', kept.target, '--table', 'public.orders'],
        'MR_UNKNOWN_TABLE',
        ['public.users', 'public.events'],
      ],
      [
        'teardown with a wrong password',
        () => ['teardown', '--from', urlWith(kept, { password: 'hunter2' })],
        'MR_SOURCE_LOGIN_REFUSED',
        ['pg_hba.conf'],
      ],
      ['teardown of a slot of another database', () => ['teardown', '--from', fresh.url, '--slot', 'kept'], 'MR_SLOT_FOREIGN', ['kept']],
      ['teardown of a physical slot', () => ['teardown', '--from', fresh.url, '--slot', 'physical'], 'MR_SLOT_FOREIGN', ['physical']],
    ])(
      '%s is refused with a remedy, and changes nothing',
      async (_, args, errorCode, words) => {
        await expectRefusal(cli, kept, await args(), errorCode, words);
      },
      20_000,
    );

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
