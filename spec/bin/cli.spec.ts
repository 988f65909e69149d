import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { dmlEvent, resolvedEvent } from '../../lib/events/index.ts';
import { definePipeline, run } from '../../lib/index.ts';
import { cloudStorage } from '../../pipelines/index.ts';
import { blockOf, textTable } from '../lib/events/rows.ts';
import { CLI, cli, cliHere, startCli } from '../support/cli.ts';
import { delivery, World, worldSource, worldStore } from '../support/run-world.ts';

const FROM = ['--from', 'postgres://app:hunter2@127.0.0.1:1/shop'];
const LIBRARY = pathToFileURL(join(import.meta.dirname, '../../lib/index.ts')).href;
const SUPPORT = pathToFileURL(join(import.meta.dirname, '../support/run-world.ts')).href;

let dir: string;
let target: string;

/** Two tables: `users` with an update whose body is unchanged TOAST, and many rows of `numbers`. */
const ROWS = 20_000;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'millrace-cli-'));
  target = pathToFileURL(join(dir, 'out')).href;
  const users = textTable(['id', 'body']);
  const numbers = textTable(['id'], ['id'], {
    sourceName: 'numbers',
    name: 'numbers',
    dispatcher: `${'0'.repeat(31)}9` as never,
    tableId: 2,
  });
  const userRows = blockOf(users, [
    { row: ['1', 'long'], commitTs: 5n },
    { key: ['1', null], row: ['2', undefined], commitTs: 5n },
  ]);
  const numberRows = blockOf(
    numbers,
    Array.from({ length: ROWS }, (_, i) => ({ row: [String(i)], commitTs: 6n })),
  );
  const world = new World();
  await run(
    definePipeline({
      name: 'cli',
      source: worldSource(world, { deliveries: () => [delivery(dmlEvent(userRows), dmlEvent(numberRows), resolvedEvent(6n))] }),
      sink: cloudStorage({ uri: target, protocol: 'canal-json' }),
      checkpoint: worldStore(world),
    }),
  ).done;
});

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

describe('millrace', () => {
  it.each<[string, string[], RegExp]>([
    ['no command', [], /Usage: millrace/],
    ['an unknown command', ['captur'], /unknown command 'captur'[\s\S]*Did you mean capture[\s\S]*millrace --help/],
    [
      'an unknown option, though a required one is missing',
      ['capture', '--form', 'x'],
      /unknown option '--form'[\s\S]*Did you mean --from/,
    ],
    ['a missing option', ['capture', ...FROM], /required option '--to' not specified\n\(millrace capture --help/],
    ['a missing value', ['capture', ...FROM, '--to'], /argument missing/],
    ['a missing file', ['describe'], /missing required argument 'file'/],
    ['an argument too many', ['read', 'file:///x'], /too many arguments/],
    ['a wrong choice', ['capture', ...FROM, '--to', 'file:///x', '--protocol', 'avro'], /canal-json, csv/],
    ['a wrong duration', ['capture', ...FROM, '--to', 'file:///x', '--flush-interval', '5'], /MR_INVALID_OPTION: option flush-interval is/],
    ['a wrong size', ['capture', ...FROM, '--to', 'file:///x', '--file-size', '64 apples'], /MR_INVALID_OPTION: option file-size is/],
    [
      'a wrong drain timeout',
      ['capture', ...FROM, '--to', 'file:///x', '--drain-timeout', 'soon'],
      /MR_INVALID_OPTION: option drain-timeout is/,
    ],
    [
      'a wrong metrics port',
      ['capture', ...FROM, '--to', 'file:///x', '--metrics-port', 'x:y'],
      /MR_INVALID_OPTION: option metrics-port is/,
    ],
    ['a wrong address for events', ['capture', ...FROM, '--to', 'file:///x', '--events', 'postgres://'], /option events is/],
    [
      'a wrong threshold',
      ['capture', ...FROM, '--to', 'file:///x', '--events', 'stdout', '--slow-threshold', 'soon'],
      /option slow-threshold is "soon".*a duration/,
    ],
    [
      'a wrong part',
      ['capture', ...FROM, '--to', 'file:///x', '--events', 'stdout', '--slow-sample', '2'],
      /option slow-sample is "2".*0 to 1/,
    ],
    ['a wrong URL', ['capture', '--from', 'mysql://app:hunter2@db/shop', '--to', 'file:///x'], /MR_INVALID_OPTION: option from is/],
    ['a wrong table pattern', ['capture', ...FROM, '--to', 'file:///x', '--tables', 'users'], /MR_INVALID_OPTION: option tables is/],
    ['an unknown option of the sink', ['read', '--to', 'file:///x?flush-intervall=5s'], /MR_UNKNOWN_OPTION/],
    ['a target of an unknown kind', ['read', '--to', 'gopher://x'], /MR_INVALID_URI/],
  ])('%s is wrong usage: exit 2, said on standard error', async (_, args, message) => {
    const { code, stdout, stderr } = await cliHere(args);
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(message) });
    expect(stderr).not.toContain('hunter2');
  });

  it.each<[string[], string]>([
    [
      ['capture', ...FROM, '--to', 'file:///x', '--slow-threshold', '5s'],
      'option slow-threshold is "5s"; it must be given with --events: without it nothing is recorded',
    ],
    [['capture', ...FROM, '--to', 'file:///x', '--slow-sample', '1'], 'option slow-sample is "1"; it must be given with --events'],
    [
      ['capture', ...FROM, '--to', 'file:///x', '--events-schema', 'ops'],
      'option events-schema is "ops"; it must be given with --events postgres://',
    ],
    [
      ['capture', ...FROM, '--to', 'file:///x', '--events', 'file:///e', '--events-schema', 'public'],
      'option events-schema is "public"; it must be given with --events postgres://…: only a database has schemas',
    ],
    [['read', '--to', 'file:///x', '--interval', '1s'], 'option interval is "1s"; it must be given with --follow: without it'],
    [['events', ...FROM, '--interval', '1s'], 'option interval is "1s"; it must be given with --follow'],
    [['events', '--from', 'file:///x', '--schema', 'ops'], 'option schema is "ops"; it must be given with --from postgres://'],
    [
      ['events', '--from', 's3://bucket/x', '--follow', '--schema', 'public'],
      'option schema is "public"; it must be given with --from postgres://',
    ],
  ])('%j has an option that would do nothing: exit 2, and what it needs', async (args, message) => {
    const { code, stdout, stderr } = await cliHere(args);
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: '', stderr: expect.stringContaining(`MR_INVALID_OPTION: ${message}`) });
  });

  it.each<[string[]]>([
    [['capture', ...FROM, '--to', 'file:///x', '--events', 'postgres://app@db/ops', '--events-schema', 'ops', '--slow-sample', '2']],
    [['events', ...FROM, '--schema', 'ops', '--follow', '--interval', '1ms']],
    [['read', '--to', 'file:///x', '--follow', '--interval', '1ms']],
  ])('%j gives such options what they need: only a value is wrong', async (args) => {
    expect(await cliHere(args)).toMatchObject({ code: 2, stderr: expect.stringMatching(/slow-sample is "2"|interval is "1ms".*at least/) });
  });

  it.each<[string[], RegExp]>([
    [['--help'], /Commands:[\s\S]*capture[\s\S]*Exit codes/],
    [['capture', '--help'], /--until-caught-up[\s\S]*SIGINT/],
    [['verify', '-h'], /--wait/],
    [['help'], /Commands:[\s\S]*capture/],
    [['help', 'verify'], /--wait/],
    [['describe', '--help'], /module is imported/],
    [['--version'], /^\d+\.\d+\.\d+\n$/],
  ])('%j prints to standard output and exits 0', async (args, message) => {
    expect(await cliHere(args)).toEqual({ code: 0, stdout: expect.stringMatching(message), stderr: '' });
  });

  it.each(['capture', 'verify', 'read', 'events', 'ddl-text', 'describe', 'teardown'])(
    '%s --help writes every default one way, without quotes',
    async (command) => {
      const { stdout } = await cliHere([command, '--help']);
      const help = stdout.replace(/\s+/g, ' ');
      expect(help.match(/default[^)]*"[^)]*\)|choices: [^)]*\)/g)).toBeNull();
      if (command === 'capture') {
        for (const text of [
          'the row format: canal-json or csv (default: canal-json)',
          'first row (default: 5s)',
          'longer than this (default: 60s)',
        ])
          expect(help).toContain(text);
      }
    },
  );
});

describe('a bucket whose region nobody gave', () => {
  it.each([undefined, ''])(
    'is wrong usage with AWS_REGION %j: the error says how to give it, and nothing is said besides',
    async (region) => {
      const nowhere = {
        AWS_REGION: region,
        AWS_DEFAULT_REGION: '',
        AWS_CONFIG_FILE: '/dev/null',
        AWS_ENDPOINT_URL: '',
        AWS_ENDPOINT_URL_S3: '',
      };
      // As a user starts it: with warnings.
      const child = spawn(process.execPath, ['--import', 'tsx', CLI, 'read', '--to', 's3://bucket/x'], {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, ...nowhere, NODE_OPTIONS: '', AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' },
      });
      const stderr = await text(child.stderr);
      expect(stderr).toMatch(/^millrace: MR_INVALID_URI: [^\n]*region[^\n]*\?region=[^\n]*AWS_REGION[^\n]*\n$/);
      expect(stderr).not.toMatch(/memory:|noop:/);
    },
  );
});

describe('millrace read', () => {
  it('prints the changes as JSON lines, an unchanged TOAST value absent', async () => {
    const { code, stdout, stderr } = await cliHere(['read', '--to', target, '--table', 'public.users']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toBe(
      '{"schema":"public","table":"users","op":"I","commitTs":"5","ordinal":0,"old":null,"data":{"id":"1","body":"long"}}\n' +
        '{"schema":"public","table":"users","op":"U","commitTs":"5","ordinal":1,"old":{"id":"1"},"data":{"id":"2"}}\n',
    );
  });

  it('prints every table, all of it, though the reader is slow', async () => {
    const { code, stdout } = await cliHere(['read', '--to', target]);
    expect(code).toBe(0);
    expect(stdout.split('\n')).toHaveLength(ROWS + 2 + 1);
  });

  it('ends quietly when its reader goes away', async () => {
    const { child, result } = startCli(['read', '--to', target]);
    child.stdout!.once('data', () => child.stdout!.destroy());
    const { code, stderr } = await result;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('names the tables that there are when there is no such table', async () => {
    const { code, stdout, stderr } = await cliHere(['read', '--to', target, '--table', 'public.user']);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('MR_UNKNOWN_TABLE');
    expect(stderr).toContain('public.numbers, public.users');
  });

  it('fails where there is nothing', async () => {
    const { code, stderr } = await cliHere(['read', '--to', `${target}-nowhere`]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('MR_STORE_NOT_FOUND') });
    expect(stderr).not.toContain('"stack"');
  });
});

describe('millrace describe', () => {
  const module = (...exports: string[]) => `
    import { definePipeline } from '${LIBRARY}';
    import { World, worldSink, worldSource, worldStore } from '${SUPPORT}';
    const world = new World();
    const make = (name) => definePipeline({ name, source: worldSource(world), sink: worldSink(world), checkpoint: worldStore(world) });
    ${exports.join('\n')}`;
  const file = async (name: string, content: string) => {
    await writeFile(join(dir, name), content);
    return join(dir, name);
  };

  it('prints the definition that a module exports', async () => {
    const { code, stdout } = await cli(['describe', await file('one.mjs', module("export default make('one');"))]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      name: 'one',
      source: { name: 'world', options: { url: 'world://here' } },
      stages: [],
      sink: { name: 'memory', options: { uri: 'memory://here' } },
      checkpoint: { name: 'memory' },
    });
  });

  it('prints several as an array, each once, also of a TypeScript module', async () => {
    const content = module("export const a = make('a');", "export const more: unknown[] = [make('b'), a];");
    const { code, stdout } = await cli(['describe', await file('several.ts', content)]);
    expect(code).toBe(0);
    expect((JSON.parse(stdout) as { name: string }[]).map(({ name }) => name)).toEqual(['a', 'b']);
  });

  it('draws them with --mermaid', async () => {
    const { code, stdout } = await cli(['describe', await file('drawn.mjs', module("export const a = make('a');")), '--mermaid']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^flowchart LR\n[\s\S]*source --> sink/) });
  });

  it('does not start the pipeline of a module that runs it only as a program', async () => {
    const code = module("export const a = make('a');", "if (process.argv[1] === import.meta.filename) throw new Error('it ran');");
    const { code: exit, stdout } = await cli(['describe', await file('guarded.mjs', code)]);
    expect({ exit, stdout }).toEqual({ exit: 0, stdout: expect.stringContaining('"name": "a"') });
  });

  it.each<[string, string, RegExp]>([
    ['exports none', 'export const x = 1;', /MR_NO_DEFINITION/],
    [
      'throws',
      "throw new Error('DATABASE_URL is not set');",
      /MR_MODULE_NOT_LOADED: \S+ could not be loaded: DATABASE_URL is not set\. (?!.*tsx).*environment/,
    ],
  ])('fails clearly for a module that %s', async (_, content, message) => {
    for (const name of ['bad.mjs', 'bad.ts']) {
      const { code, stdout, stderr } = await cli(['describe', await file(name, content)]);
      const { msg } = JSON.parse(stderr) as { msg: string };
      expect({ code, stdout, msg }).toEqual({ code: 1, stdout: '', msg: expect.stringMatching(message) });
    }
  });

  it('names tsx only where it is a loader that lacks', async () => {
    const { code, stderr } = await cli(['describe', await file('users.none', '')]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/MR_MODULE_NO_LOADER: .*Unknown file extension.*install tsx/)]);
  });

  it('leaves with the exit code of the command', async () => {
    expect((await cli(['frob'])).code).toBe(2);
  });

  it('fails clearly for a file that is not there', async () => {
    expect(await cli(['describe', join(dir, 'nowhere.mjs')])).toEqual({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/MR_MODULE_NOT_LOADED/),
    });
  });
});
