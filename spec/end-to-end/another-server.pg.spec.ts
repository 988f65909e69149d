import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, it } from '@jest/globals';
import type { ErrorCode } from '../../lib/errors.ts';
import { CliServer } from '../support/cli-server.ts';
import { Pipeline } from '../support/pipeline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { expectError, expectRefusal } from '../support/refusals.ts';

describe('another server', () => {
  let server: TestPostgres;
  let second: TestPostgres;
  let dir: string;
  /** Captured from the first server; no case changes anything of it. */
  let kept: Pipeline;
  let other: Pipeline;
  const commands = new CliServer();
  const { cli } = commands;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'millrace-other-'));
    [server, second] = await Promise.all([startPostgres(), startPostgres({ settings: { wal_level: 'replica' } })]);
    kept = await Pipeline.captured(server, 'kept', dir, cli);
    other = await Pipeline.create(second, 'other', dir, cli);
  }, 60_000);

  afterAll(async () => {
    await Promise.all([server.stop(), second.stop(), commands.close()]);
    await rm(dir, { recursive: true, force: true });
  });

  it.each<[settings: Record<string, string>, errorCode: ErrorCode, words: string[]]>([
    [{ wal_level: 'replica' }, 'MR_WAL_LEVEL', ['wal_level is replica', 'ALTER SYSTEM SET wal_level = logical']],
    [{ max_replication_slots: '1' }, 'MR_TOO_FEW_SLOTS', ['1 of 1 replication slots free', 'max_replication_slots']],
    [{ max_wal_senders: '1' }, 'MR_TOO_FEW_SENDERS', ['of 1 WAL senders free', 'max_wal_senders']],
  ])(
    'with %j is refused, naming what to set',
    async (settings, errorCode, words) => {
      if (settings.wal_level === undefined) await second.restart('fast', settings);
      await expectRefusal(cli, other, other.catchUp(), errorCode, words);
    },
    30_000,
  );

  it('P2: is not taken for the one that a state or a target belongs to', async () => {
    await second.restart('fast', {});
    await other.succeeds(other.catchUp());
    const elsewhere = other.url.replace('/other', '/kept');
    await Pipeline.create(second, 'kept', join(dir, 'second'), cli);
    await expectRefusal(cli, kept, kept.catchUp({ '--from': elsewhere }), 'MR_SOURCE_CHANGED', ['the system identifier was']);
    await expectRefusal(cli, kept, other.catchUp({ '--to': kept.target }), 'MR_TARGET_OF_ANOTHER_SOURCE', [
      kept.target,
      'Write to a new place',
    ]);
    const { code, stdout, stderr } = await cli(['verify', '--from', elsewhere, '--to', kept.target]);
    expectError({ code, stdout, stderr }, 'MR_TARGET_OF_ANOTHER_SOURCE', [kept.target]);
  }, 60_000);

  it('I6: that has invalidated the slot, for its WAL or for being idle, is not read on from', async () => {
    const idle = await Pipeline.captured(second, 'idle', dir, cli);
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
    await expectRefusal(cli, other, other.catchUp(), 'MR_SLOT_INVALIDATED', ['wal_removed', 'max_slot_wal_keep_size', 'teardown']);
    await second.query('ALTER SYSTEM RESET max_slot_wal_keep_size');
    await second.query(`ALTER SYSTEM SET idle_replication_slot_timeout = '1s'`);
    await second.query('SELECT pg_reload_conf()');
    await invalidated('idle', ['CHECKPOINT']);
    await expectRefusal(cli, idle, idle.catchUp(), 'MR_SLOT_INVALIDATED', ['idle', 'idle_replication_slot_timeout', 'teardown']);
  }, 60_000);
});
