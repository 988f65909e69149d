import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { runCommandLine } from '../../bin/command-line.ts';
import type { ColumnSpec, EventHandler } from '../../pipelines/event-recorder/event.ts';
import { objectStoreEvents } from '../../pipelines/event-recorder/handlers/object-store.ts';
import { postgresEvents } from '../../pipelines/event-recorder/handlers/postgres.ts';
import { FIRST_TRY, groupOf, NOON_NS } from '../pipelines/event-recorder/events.ts';
import { startCli } from '../support/cli.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';

const COLUMNS: ColumnSpec[] = [
  { name: 'host', type: 'string', semantic: 'tag' },
  { name: 'cost', type: 'uint64', semantic: 'field' },
  { name: 'raw', type: 'binary', semantic: 'field' },
  { name: 'at', type: 'timestampMs', semantic: 'field' },
  { name: 'f', type: 'float64', semantic: 'field' },
  { name: 'ok', type: 'boolean', semantic: 'field' },
];

async function events(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const texts = { stdout: '', stderr: '' };
  const collect = (name: 'stdout' | 'stderr') =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        texts[name] += chunk.toString();
        done();
      },
    });
  const code = await runCommandLine(['events', ...args], { stdout: collect('stdout'), stderr: collect('stderr') });
  return { code, ...texts };
}

/** Two tables, three types, an event of two rows, and one that was delivered twice. */
async function fill(handler: EventHandler): Promise<void> {
  const rows = [
    ['x', 2n ** 64n - 1n, Buffer.from('raw'), 1, Number.POSITIVE_INFINITY, true],
    ['y', 7, null, null, 0.5, null],
  ];
  const slow = groupOf([
    { type: 'slow', table: 'slow_operations', payload: [1, 'é'], timestampNs: NOON_NS + 1n, extraSchema: COLUMNS, extraRows: rows },
  ]);
  await handler.deliver(slow, FIRST_TRY);
  await handler.deliver(slow, FIRST_TRY);
  await handler.deliver(
    groupOf(
      [0n, 2n].map((ns) => ({ type: 'started', timestampNs: NOON_NS + ns })),
      { from: 2n },
    ),
    FIRST_TRY,
  );
  await handler.deliver(groupOf([{ type: 'failed', timestampNs: NOON_NS + 3_600_000_000_000n }], { from: 4n }), FIRST_TRY);
  await handler.close?.();
}

describe('millrace events', () => {
  let server: TestPostgres;
  let dir: string;
  let places: Record<'database' | 'files', string>;

  beforeAll(async () => {
    server = await startPostgres();
    dir = await mkdtemp(join(tmpdir(), 'millrace-events-'));
    places = { database: await server.createDatabase('recorded'), files: pathToFileURL(dir).href };
    await fill(postgresEvents({ url: places.database }));
    await fill(objectStoreEvents({ uri: places.files }));
    // Tables that hold no events are none of its business.
    await server.query('CREATE TABLE events_of_others (event_id int)', [], 'recorded');
  });

  afterAll(async () => {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const expected = (id: number, row: number, ns: bigint, rest: object) =>
    expect.objectContaining({
      event_id: `e000${id}`,
      event_row: row,
      timestamp: expect.stringContaining(String((NOON_NS + ns) % 1_000_000_000n)),
      ...rest,
    });

  it.each(['database', 'files'] as const)('prints the same lines from a %s, in the order of time, each row once', async (place) => {
    const { code, stdout } = await events('--from', places[place]);
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
      expected(2, 0, 0n, { type: 'started', event_table: 'events', payload: null }),
      expected(1, 0, 1n, {
        type: 'slow',
        event_table: 'slow_operations',
        payload: [1, 'é'],
        host: 'x',
        raw: 'cmF3',
        at: '1970-01-01T00:00:00.001Z',
        f: 'Infinity',
        ok: true,
      }),
      expected(1, 1, 1n, { type: 'slow', host: 'y', cost: 7, f: 0.5 }),
      expected(3, 0, 2n, { type: 'started' }),
      expected(4, 0, 0n, { type: 'failed' }),
    ]);
    expect(lines[1]).toContain('"cost":18446744073709551615');
    expect(lines[2]).not.toContain('raw');
  });

  it('the lines of both places are equal, but for how the payload is spaced', async () => {
    const [database, files] = await Promise.all([events('--from', places.database), events('--from', places.files)]);
    expect(database.stdout.replaceAll('[1, "é"]', '[1,"é"]')).toBe(files.stdout);
  });

  it.each<[string[], string[]]>([
    [
      ['--type', 'started'],
      ['e0002', 'e0003'],
    ],
    [
      ['--type', 'failed, slow'],
      ['e0001', 'e0001', 'e0004'],
    ],
    [
      ['--table', 'slow_operations'],
      ['e0001', 'e0001'],
    ],
    [['--since', '2026-11-22T06:00:00Z'], ['e0004']],
    [
      ['--since', '999999d'],
      ['e0002', 'e0001', 'e0001', 'e0003', 'e0004'],
    ],
  ])('%j leaves the rest out, in a database and in files', async (options, ids) => {
    for (const from of Object.values(places)) {
      const { stdout } = await events('--from', from, ...options);
      expect(
        stdout
          .trimEnd()
          .split('\n')
          .map((line) => (JSON.parse(line) as { event_id: string }).event_id),
      ).toEqual(ids);
    }
  });

  it.each(['9999-01-01', '2263-01-01T00:00:00Z'])('--since %s is later than any event can be', async (since) => {
    for (const from of Object.values(places)) expect(await events('--from', from, '--since', since)).toMatchObject({ code: 0, stdout: '' });
  });

  it('prints numbers as text: JSON.parse takes neighbours beyond 2^53 for one', async () => {
    // As a recorder numbers them: behind a time in milliseconds, times 2^16.
    const from = (1_795_000_000_000n << 16n) + 1n;
    const group = groupOf(
      [NOON_NS, NOON_NS + 1n].map((timestampNs) => ({ type: 'started', payload: { event_seq: 7 }, timestampNs })),
      { from },
    );
    const uris = [await server.createDatabase('numbered'), pathToFileURL(await mkdtemp(join(dir, 'numbered-'))).href];
    const handlers = [postgresEvents({ url: uris[0]! }), objectStoreEvents({ uri: uris[1]! })];
    for (const [index, handler] of handlers.entries()) {
      await handler.deliver(group, FIRST_TRY);
      await handler.close?.();
      const printed = (await events('--from', uris[index]!)).stdout.trimEnd().split('\n');
      expect(printed.map((line) => JSON.parse(line) as unknown)).toEqual([
        expect.objectContaining({ event_seq: String(from), payload: { event_seq: 7 } }),
        expect.objectContaining({ event_seq: String(from + 1n), payload: { event_seq: 7 } }),
      ]);
    }
  });

  it('says so where there are no such events, which is no failure', async () => {
    const { code, stdout, stderr } = await events('--from', places.files, '--type', 'never');
    expect([code, stdout]).toEqual([0, '']);
    expect(stderr).toContain('there are no such events');
  });

  it.each<[string, string[], number, RegExp]>([
    [
      'a table that is not there',
      ['--table', 'audit'],
      1,
      /MR_EVENTS_UNREADABLE.*no table public\.audit of events; there are: events, slow_operations/,
    ],
    [
      'a time that is none',
      ['--since', 'yesterday'],
      2,
      /option since is "yesterday"; it must be a date or a time such as 2026-11-22, \S+Z or \S+\+02:00, or a duration before now such as 90s, 5m, 1h30m or 7d\./,
    ],
    ['a duration of no unit', ['--since', '5'], 2, /option since is/],
    ['a day that is none', ['--since', '2026-13-45'], 2, /option since is/],
    ['an empty type', ['--type', 'a,,b'], 2, /option type is/],
    ['an interval of nothing', ['--follow', '--interval', '1ms'], 2, /option interval is "1ms".*at least 100ms/],
  ])('%s ends it with its code', async (_, options, exitCode, message) => {
    const { code, stderr } = await events('--from', places.database, ...options);
    expect([code, stderr]).toEqual([exitCode, expect.stringMatching(message)]);
  });

  it.each(['database', 'files'] as const)(
    '--follow: prints what comes to a %s too, each once, until SIGINT, and exits 0',
    async (place) => {
      const url =
        place === 'database' ? await server.createDatabase('followed') : pathToFileURL(await mkdtemp(join(dir, 'followed-'))).href;
      const handler = place === 'database' ? postgresEvents({ url }) : objectStoreEvents({ uri: url });
      const deliver = (id: bigint, ns: bigint) =>
        handler.deliver(groupOf([{ type: 'started', timestampNs: NOON_NS + ns }], { from: id }), FIRST_TRY);
      const idsIn = (text: string) => [...text.matchAll(/"event_id":"([^"]*)"/g)].map(([, id]) => id);
      await deliver(1n, 1n);
      const { child, result } = startCli(['events', '--from', url, '--follow', '--interval', '100ms']);
      let printed = '';
      child.stdout!.on('data', (chunk: Buffer) => {
        printed += chunk.toString();
      });
      const seen = async (id: string) => {
        while (!idsIn(printed).includes(id)) await once(child.stdout!, 'data');
      };
      await seen('e0001');
      await deliver(2n, 5n);
      await seen('e0002');
      // Recorded before, delivered behind: by another recorder, or when it was tried again.
      await deliver(3n, 3n);
      await seen('e0003');
      child.kill('SIGINT');
      await handler.close?.();
      const { code, stdout, stderr } = await result;
      expect({ code, ids: idsIn(stdout), stderr }).toEqual({ code: 0, ids: ['e0001', 'e0002', 'e0003'], stderr: '' });
    },
    60_000,
  );

  it('a server that is not there is named without the password', async () => {
    const { code, stderr } = await events('--from', 'postgres://app:hunter2@127.0.0.1:1/none');
    expect(code).toBe(1);
    expect(stderr).toMatch(/MR_EVENTS_UNREADABLE/);
    expect(stderr).not.toContain('hunter2');
  });

  it('needs --from, and knows which places there are', async () => {
    expect(await events()).toMatchObject({ code: 2, stderr: expect.stringContaining("required option '--from'") });
    expect(await events('--from', 'ftp://x')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(
        'option from is "ftp://x"; it must be postgres://user@host/database, file:///dir or s3://bucket/prefix.',
      ),
    });
    expect((await events('--help')).stdout).toMatch(/--since <time>/);
  });
});
