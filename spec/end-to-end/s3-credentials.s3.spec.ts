import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { filter, firstValueFrom } from 'rxjs';
import type { ErrorCode } from '../../lib/errors.ts';
import { dmlEvent, RowBlockWriter } from '../../lib/events/index.ts';
import { createLogger, definePipeline, describe as describePipeline, fileCheckpoint, run, toMermaid } from '../../lib/index.ts';
import { openStore } from '../../lib/stores/index.ts';
import { memorySource } from '../../lib/testing/index.ts';
import { cloudStorage, eventRecorder, objectStoreEvents } from '../../pipelines/index.ts';
import { CliServer } from '../support/cli-server.ts';
import { errorsIn, Pipeline } from '../support/pipeline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { expectError, IDENTICAL } from '../support/refusals.ts';
import { type S3Server, startS3 } from '../support/s3.ts';
import { table } from '../support/sink-world.ts';

const KEY = 'AKIAHUNTER2KEY';
const CREDENTIALS = { 'access-key': KEY, 'secret-access-key': 'se+cret/hunter2=&#', 'session-token': 'tok+en/hunter2==' };
/** Parts of each, however they are encoded. */
const SECRETS = /AKIAHUNTER2KEY|hunter2|se\+cret|se%2Bcret|tok\+en|tok%2Ben/i;

describe('credentials in the URI of an S3 target', () => {
  let postgres: TestPostgres;
  let s3: S3Server;
  let commands: CliServer;
  let dir: string;

  beforeAll(async () => {
    [postgres, s3] = await Promise.all([startPostgres(), startS3()]);
    s3.allow(KEY);
    // The environment has others, which are denied.
    const env = { ...s3.env, AWS_ACCESS_KEY_ID: 'NOBODY' };
    commands = new CliServer({ env });
    dir = await mkdtemp(join(tmpdir(), 'millrace-s3-credentials-'));
  });

  afterAll(async () => {
    await commands.close();
    await Promise.all([postgres.stop(), s3.close()]);
    await rm(dir, { recursive: true, force: true });
  });

  it('capture, read, verify and events use them, and nothing that they print or write has them', async () => {
    const printed: string[] = [];
    const cli = async (args: readonly string[]) => {
      const result = await commands.cli(args);
      printed.push(result.stdout, result.stderr);
      return result;
    };
    const pipeline = await Pipeline.create(postgres, 'with_keys', dir, cli);
    const [target, events] = [s3.uri('of-cli', CREDENTIALS), s3.uri('events-of-cli', CREDENTIALS)];
    const captured = () => pipeline.catchUp({ '--to': target, '--events': events, '--slow-threshold': '0s' });
    await pipeline.succeeds(captured());
    await pipeline.sql(`INSERT INTO users VALUES (100, 'x'); ALTER TABLE users ADD COLUMN age int; INSERT INTO users VALUES (101, 'y', 3)`);
    await pipeline.succeeds(captured());
    expect(await pipeline.verdicts(target)).toEqual(IDENTICAL);
    const read = await pipeline.succeeds(['read', '--to', target]);
    expect(read.stdout).toContain('"email":"x"');
    const told = await pipeline.succeeds(['events', '--from', events]);
    expect(told.stdout).toContain('"uri":"s3://lake/of-cli"');
    expectNothing('the command line', printed);
    expectNothing('the state', await contentBelow(pipeline.state));
    expectNothing('the bucket', await contentOf('of-cli'));
    expectNothing('the events', await contentOf('events-of-cli'));
  }, 120_000);

  it('what refuses them does not repeat them', async () => {
    const pipeline = await Pipeline.create(postgres, 'with_wrong_keys', dir, commands.cli);
    const elsewhere = (to: string) => commands.cli(pipeline.catchUp({ '--to': to }));
    const wrong = s3.uri('wrong', { ...CREDENTIALS, 'access-key': 'AKIAHUNTER2' });
    const denied = ['credentials are right', 'InvalidAccessKeyId', 'at s3://lake/wrong was denied'];
    expectError(await elsewhere(wrong), 'MR_STORE_DENIED', denied);
    expectError(await elsewhere(s3.uri('wrong')), 'MR_STORE_DENIED', denied.slice(0, 2));
    const { 'access-key': _, ...half } = CREDENTIALS;
    const wrongUses: [to: string, code: ErrorCode, words: string][] = [
      [s3.uri('half', half), 'MR_INVALID_OPTION', 'option access-key is missing'],
      [s3.uri('typo', { ...CREDENTIALS, hunter2: '1' }), 'MR_UNKNOWN_OPTION', '***'],
      [`${s3.uri('x', CREDENTIALS)}#x`, 'MR_INVALID_URI', 'secret-access-key=***'],
      ['s3://hunter2:hunter2@lake/x', 'MR_INVALID_URI', 'before an @'],
    ];
    for (const [to, errorCode, words] of wrongUses) {
      const { code, stdout, stderr } = await elsewhere(to);
      expect({ code, stdout, errors: errorsIn(stderr) }).toEqual({
        code: 2,
        stdout: '',
        errors: [{ code: errorCode, message: expect.stringContaining(words) }],
      });
      expectNothing('the error', [stderr]);
    }
  }, 60_000);

  it('a definition, its run, its metrics, its log, its events and its state do not have them', async () => {
    const folder = join(dir, 'run');
    const uri = s3.uri('of-run', { ...CREDENTIALS, protocol: 'csv' });
    const log: string[] = [];
    const logger = createLogger({ level: 'trace', stream: { write: (line) => void log.push(line) } });
    const source = memorySource();
    const users = table('users', 1n, ['id'], ['id']);
    source.append([dmlEvent(new RowBlockWriter(users).beginTransaction(10n).insert({ id: '1' }).build())]);
    const sink = cloudStorage({ uri, flushInterval: '100ms' });
    const pipeline = definePipeline({ name: 'with-keys', source, sink, checkpoint: fileCheckpoint(folder) });
    const description = describePipeline(pipeline);
    expect(description.sink.options['uri']).toContain('secret-access-key=***');
    expectNothing('the description', [JSON.stringify(description), toMermaid(description), inspect(pipeline, { depth: 9 })]);

    const handler = objectStoreEvents({ uri: s3.uri('events-of-run', CREDENTIALS) });
    const events = await eventRecorder({ handler }).open({ logger });
    const running = run(pipeline, { logger, events, metricsPort: 0, slowThreshold: 0 });
    const status = await firstValueFrom(running.status$.pipe(filter(({ checkpointTs }) => checkpointTs >= 10n)));
    const { url } = JSON.parse(log.find((line) => line.includes('/metrics'))!) as { url: string };
    const scrape = await (await fetch(url)).text();
    expect(scrape).toContain('millrace_cloud_storage_flush_bytes_count');
    await running.stop();
    await events.close(5000);
    expectNothing('the run', [scrape, inspect(status, { depth: 9 }), inspect(running, { depth: 9 }), ...log]);
    expectNothing('the state', await contentBelow(folder));
    expectNothing('the bucket', await contentOf('of-run'));
    expectNothing('the events', await contentOf('events-of-run'));
  }, 60_000);

  async function contentOf(prefix: string): Promise<string[]> {
    const store = await openStore(s3.uri(prefix, CREDENTIALS), undefined, 'read');
    expect(inspect(store, { depth: 9 })).not.toMatch(SECRETS);
    const found: string[] = [];
    for await (const { key } of store.list('')) found.push(key, (await store.get(key))!.toString('latin1'));
    await store.close();
    return found;
  }
});

function expectNothing(of: string, texts: readonly string[]): void {
  expect(texts.join('').length).toBeGreaterThan(0);
  expect({ of, with: texts.filter((text) => SECRETS.test(text)) }).toEqual({ of, with: [] });
}

async function contentBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return Promise.all(files.map(async (path) => `${path} ${await readFile(path, 'latin1')}`));
}
