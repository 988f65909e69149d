import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CliServer } from '../support/cli-server.ts';

const FROM = 'postgres://me:hunter2@127.0.0.1:1/db';
const TO = 'file:///nowhere/at/all';

const capture = (...extra: string[]) => ['capture', '--from', FROM, '--to', TO, ...extra];
const into = (uri: string, ...extra: string[]) => ['capture', '--from', FROM, '--to', uri, ...extra];
const from = (url: string) => ['capture', '--from', url, '--to', TO];

/** A command line, and words of the error: the option, its value, and what it must be. */
const CASES: readonly (readonly [args: readonly string[], ...words: string[]])[] = [
  [[], 'Usage: millrace', 'capture', 'verify', 'read', 'describe', 'teardown'],
  [['captrue'], "unknown command 'captrue'", 'Did you mean capture?'],
  [['--verbose'], "unknown option '--verbose'"],

  [['capture'], "required option '--from' not specified"],
  [['capture', '--from', FROM], "required option '--to' not specified"],
  [['verify', '--from', FROM], "required option '--to' not specified"],
  [['verify', '--to', TO], "required option '--from' not specified"],
  [['read'], "required option '--to' not specified"],
  [['teardown'], "required option '--from' not specified"],
  [['describe'], "missing required argument 'file'"],
  [['describe', 'a.ts', 'b.ts'], 'too many arguments'],
  [capture('more'), 'too many arguments'],
  [['capture', '--from'], "option '--from <url>' argument missing"],
  [capture('--fushl-interval', '5s'), "unknown option '--fushl-interval'"],
  [capture('--flsh-interval', '5s'), "unknown option '--flsh-interval'", 'Did you mean --flush-interval?'],
  [['read', '--to', TO, '--state', 'x'], "unknown option '--state'"],
  [['teardown', '--from', FROM, '--to', TO], "unknown option '--to'"],

  [from(''), 'MR_INVALID_OPTION', 'option from is', 'postgres://user:***@host:port/database'],
  [from('localhost'), 'option from is localhost', 'postgres://user:***@host:port/database'],
  [from('postgres://me:hunter2@host:notaport/db'), 'option from is postgres://me:***@host:notaport/db', 'must be a URL'],
  [from('postgres://me:hunter2@host:99999/db'), 'option from is postgres://me:***@host:99999/db', 'must be a URL'],
  [from('postgres://me:hun#ter2@host/db'), 'option from is postgres://me:***@host/db', '%23'],
  [from('postgres://me:hun/ter2@host/db'), 'option from is postgres://me:***@host/db', '%2F'],
  [from('mysql://me:hunter2@host/db'), 'option from is mysql://me:***@host/db', 'postgres://'],
  [from('postgres://127.0.0.1'), 'option from is postgres://127.0.0.1', 'names the database'],
  [from('postgres://me:hunter2@host/db?sslmode=maybe'), 'option sslmode is maybe', 'disable', 'verify-full'],
  [['verify', '--from', 'host/db', '--to', TO], 'option from is host/db', 'postgres://'],
  [['teardown', '--from', 'host/db'], 'option from is host/db', 'postgres://'],

  [into(''), 'MR_INVALID_URI', 'file:///absolute/dir', 's3://bucket/prefix'],
  [into('./out'), 'MR_INVALID_URI', './out', 'file:///absolute/dir'],
  [into('file://out/dir'), 'MR_INVALID_URI', 'file://out/dir', 'file:///absolute/dir'],
  [into('file:///out#1'), 'MR_INVALID_URI', 'file:///out#1', '%23'],
  [into('gs://bucket/x'), 'MR_INVALID_URI', 'unsupported scheme: gs', 's3://bucket/prefix'],
  [into('s3:///prefix'), 'MR_INVALID_URI', 'it names no bucket'],
  [into('s3://AKIAKEY:hunter2@bucket/x'), 'MR_INVALID_URI', 's3://***@bucket/x', 'AWS_ACCESS_KEY_ID'],
  [into('s3://bucket/x?endpoint=localhost:9000'), 'option endpoint is localhost:9000', 'http://'],
  [into('s3://bucket/x?force-path-style=si'), 'option force-path-style is si', 'true or false'],
  [into('s3://bucket/x?conditional-writes=0'), 'option conditional-writes is 0', 'true or false'],
  [into(`${TO}?conditional-writes=false`), 'MR_UNKNOWN_OPTION', 'unknown option conditional-writes', 'flush-interval'],
  [into(`${TO}?flushinterval=1s`), 'MR_UNKNOWN_OPTION', 'unknown option flushinterval', 'flush-interval'],
  [into(`${TO}?protocol=avro`), 'option protocol is avro', 'canal-json, csv'],
  [into(`${TO}?flush-interval=soon`), 'option flush-interval is "soon"', '100ms, 5s'],
  [into(`${TO}?file-size=big`), 'option file-size is "big"', '64MiB'],
  [into(`${TO}?worker-count=0`), 'option worker-count is 0', 'greater than 0'],
  [into(`${TO}?worker-count=two`), 'option worker-count is two', 'a whole number'],
  [into(`${TO}?spool-memory=0`), 'option spool-memory is 0', 'greater than 0'],
  [into(`${TO}?date-separator=hour`), 'option date-separator is hour', 'none, year, month, day'],
  [into(`${TO}?file-index-digit=x`), 'option file-index-digit is x', 'a whole number'],
  [into(`${TO}?terminator=`), 'option terminator is ""', 'at least one character'],
  [into(`${TO}?output-column-id=yes`), 'option output-column-id is yes', 'true or false'],
  [into(`${TO}?enable-tidb-extension=1`), 'option enable-tidb-extension is 1', 'true or false'],
  [into(`${TO}?protocol=csv&delimiter=long%2C`), 'option delimiter is "long,"', 'one to three bytes'],
  [into(`${TO}?protocol=csv&quote=ab`), 'option quote is "ab"', 'one byte'],
  [into(`${TO}?protocol=csv&binary-encoding-method=octal`), 'option binary-encoding-method is "octal"', 'base64 or hex'],
  [into(`${TO}?protocol=csv&delete-only-output-handle-key-columns=true`), 'option delete-only-output-handle-key-columns is true', 'false'],
  [into(`${TO}?protocol=csv&output-raw-change-event=true`), 'option output-raw-change-event is true', 'output-old-value'],
  [['read', '--to', `${TO}?flushinterval=1s`], 'unknown option flushinterval', 'flush-interval'],
  [['read', '--to', 'gs://bucket/x'], 'MR_INVALID_URI', 'unsupported scheme: gs'],
  [['verify', '--from', FROM, '--to', './out'], 'MR_INVALID_URI', './out', 'file:///absolute/dir'],

  [capture('--protocol', 'avro'), "'--protocol <name>' argument 'avro' is invalid", 'canal-json, csv'],
  [capture('--snapshot', 'sometimes'), "'--snapshot <when>' argument 'sometimes' is invalid", 'initial, never'],
  [capture('--slot', 'Not A Slot'), 'option slot is Not A Slot', '1–63 characters of a–z, 0–9 and _'],
  [capture('--slot', ''), 'option slot is', '1–63 characters'],
  [capture('--publication', ''), 'option publication is ""', 'a name of 1–63 bytes'],
  [capture('--publication', 'é'.repeat(32)), 'option publication is', 'a name of 1–63 bytes'],
  [capture('--tables', ''), 'option tables is', 'at least one pattern'],
  [capture('--tables', 'users'), 'option tables is "users"', 'schema.table'],
  [capture('--tables', 'a.b.c'), 'option tables is "a.b.c"', 'schema.table'],
  [capture('--tables', '!public.x'), 'option tables is', 'at least one pattern'],
  [capture('--resnapshot', 'users'), 'option resnapshot is "users"', 'schema.table'],
  [capture('--resnapshot', ''), 'option resnapshot is', 'at least one pattern'],
  [capture('--flush-interval', '5'), 'option flush-interval is "5"', 'a duration such as 100ms, 5s'],
  [capture('--file-size', '1x'), 'option file-size is "1x"', 'a size such as 1000, 64MiB'],
  [capture('--max-wal', 'lots'), 'option max-wal is "lots"', 'a size such as 1000, 64MiB'],
  [capture('--max-wal', '0'), 'option max-wal is "0"', 'at least 1B'],
  [capture('--drain-timeout', 'never'), 'option drain-timeout is "never"', 'a duration such as 100ms, 5s'],
  [capture('--state', ''), 'option state is ""', 'a folder'],
  [capture('--events', 'ftp://host/x'), 'option events is "ftp://host/x"', 's3://bucket/prefix, or stdout'],
  [['events', '--from', 'ftp://host/x'], 'option from is "ftp://host/x"', 'file:///dir or s3://bucket/prefix'],
  [['events', '--from', TO, '--since', 'yesterday'], 'option since is "yesterday"', '2026-11-22T05:00:00Z', '7d'],
  [['verify', '--from', FROM, '--to', TO, '--wait', '30'], 'option wait is "30"', 'a duration such as 100ms, 5s'],
  [['verify', '--from', FROM, '--to', TO, '--tables', 'users'], 'option tables is "users"', 'schema.table'],
  [['verify', '--from', FROM, '--to', TO, '--state', ''], 'option state is ""', 'a folder'],
  [['verify', '--from', FROM, '--to', TO, '--publication', ''], 'option publication is ""', 'a name of 1–63 bytes'],
  [['read', '--to', TO, '--table', 'users'], 'option table is "users"', 'schema.table'],
  [['read', '--to', TO, '--table', ''], 'option table is', 'schema.table'],
  [['teardown', '--from', FROM, '--slot', ''], 'option slot is ""', 'a name of 1–63 bytes'],
  [['teardown', '--from', FROM, '--publication', ''], 'option publication is ""', 'a name of 1–63 bytes'],
];

describe('wrong usage', () => {
  let dir: string;
  let server: CliServer;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'millrace-usage-'));
    server = new CliServer({ cwd: dir });
  });

  afterAll(async () => {
    await server.close();
    await rm(dir, { recursive: true, force: true });
  });

  it.each(CASES.map(([args, ...words]) => [`millrace ${args.join(' ')}`, args, words] as const))(
    '%s exits 2 and says what is wrong with which option',
    async (_, args, words) => {
      const { code, stdout, stderr } = await server.cli(args);
      expect({ code, stdout, said: words.filter((word) => stderr.includes(word)), stderr }).toEqual({
        code: 2,
        stdout: '',
        said: words,
        stderr,
      });
      expect(stderr).not.toMatch(/hunter2|ter2@|\n {4}at /);
      expect(stderr.trimEnd().split('\n').length).toBeLessThanOrEqual(words[0] === 'Usage: millrace' ? 30 : 3);
    },
  );

  it('makes no file, not even a folder of the state', async () => {
    expect(await readdir(dir)).toEqual([]);
  });
});

describe('describe of a file without a definition', () => {
  let dir: string;
  let server: CliServer;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'millrace-describe-'));
    server = new CliServer();
    await writeFile(join(dir, 'empty.mjs'), 'export const pipeline = { name: "looks like one", stages: [] };');
    await writeFile(join(dir, 'broken.mjs'), 'export const pipeline = {;');
    await writeFile(join(dir, 'throws.mjs'), 'throw new Error("at the top: postgres://me:hunter2@host/db");');
  });

  afterAll(async () => {
    await server.close();
    await rm(dir, { recursive: true, force: true });
  });

  it.each([
    ['empty.mjs', 'MR_NO_DEFINITION', 'definePipeline'],
    ['broken.mjs', 'MR_MODULE_NOT_LOADED', 'Unexpected token'],
    ['throws.mjs', 'MR_MODULE_NOT_LOADED', 'at the top'],
    ['missing.ts', 'MR_MODULE_NOT_LOADED', 'missing.ts'],
  ])('%s exits 1 with %s', async (file, errorCode, words) => {
    const { code, stdout, stderr } = await server.cli(['describe', join(dir, file)]);
    expect({ code, stdout, stderr }).toEqual({ code: 1, stdout: '', stderr: expect.stringContaining(errorCode) });
    expect(stderr).toContain(words);
    expect(stderr).toContain(file);
    expect(stderr).not.toContain('hunter2');
  });
});
