import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { ErrorCode } from '../../lib/errors.ts';
import { startCli } from '../support/cli.ts';
import { CliServer } from '../support/cli-server.ts';
import { Pipeline } from '../support/pipeline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { expectError, IDENTICAL } from '../support/refusals.ts';
import { type Fault, type FaultRule, type S3Server, startS3 } from '../support/s3.ts';

const EVER = Number.POSITIVE_INFINITY;
const SLOW_DOWN: Fault = { kind: 'status', status: 503, code: 'SlowDown' };
const INTERNAL: Fault = { kind: 'status', status: 500, code: 'InternalError' };
const DENIED: Fault = { kind: 'status', status: 403, code: 'AccessDenied' };
const CUT_BEFORE: Fault = { kind: 'cut', when: 'before' };
const CUT_AFTER: Fault = { kind: 'cut', when: 'after' };

describe('capture into an S3 that fails', () => {
  let postgres: TestPostgres;
  let s3: S3Server;
  let commands: CliServer;
  let dir: string;
  let count = 0;
  const cli = (args: readonly string[]) => commands.cli(args);

  beforeAll(async () => {
    [postgres, s3] = await Promise.all([startPostgres(), startS3()]);
    // A secret that no message may show.
    commands = new CliServer({ env: { ...s3.env, AWS_SECRET_ACCESS_KEY: 'hunter2' } });
    dir = await mkdtemp(join(tmpdir(), 'millrace-s3-faults-'));
  });

  afterEach(() => s3.heal());

  afterAll(async () => {
    await commands.close();
    await Promise.all([postgres.stop(), s3.close()]);
    await rm(dir, { recursive: true, force: true });
  });

  /** A pipeline of its own, and its target in the bucket. */
  async function pipelineToS3(): Promise<{ pipeline: Pipeline; target: string; args: string[] }> {
    const name = `faults_${++count}`;
    const pipeline = await Pipeline.create(postgres, name, dir, cli);
    const target = s3.uri(`lake of ${name}`.replaceAll(' ', '-'));
    return { pipeline, target, args: pipeline.catchUp({ '--to': target }) };
  }

  it.each<[fault: string, fault: Fault, rule: FaultRule]>([
    ['SlowDown, twice, for data files', SLOW_DOWN, { method: 'PUT', key: 'CDC', times: 2 }],
    ['500, twice, for whatever is put', INTERNAL, { method: 'PUT', times: 2 }],
    ['a reset before the effect of data and index files', CUT_BEFORE, { method: 'PUT', key: 'CDC', times: 3 }],
    ['a reset after the effect of data and index files', CUT_AFTER, { method: 'PUT', key: 'CDC', times: 3 }],
    ['a reset after the effect of schema files', CUT_AFTER, { method: 'PUT', key: 'schema_', times: 2 }],
    ['a reset after the effect of the target’s claim', CUT_AFTER, { method: 'PUT', key: 'meta/source.json' }],
    ['a reset after the effect of the checkpoint', CUT_AFTER, { method: 'PUT', key: '/metadata' }],
    ['answers to reads that break off', { kind: 'truncate', bytes: 10 }, { method: 'GET', times: 2 }],
    ['a list that is refused for a while', SLOW_DOWN, { method: 'GET', times: 2 }],
  ])(
    '%s: it is tried again, and nothing is lost or doubled',
    async (_, fault, rule) => {
      const { pipeline, target, args } = await pipelineToS3();
      s3.inject(fault, rule);
      await pipeline.succeeds(args);
      await pipeline.sql(`INSERT INTO users VALUES (100, 'x'); UPDATE users SET email = 'y' WHERE id = 1; DELETE FROM events`);
      s3.inject(fault, rule);
      await pipeline.succeeds(args);
      s3.heal();
      expect(await pipeline.verdicts(target)).toEqual(IDENTICAL);
    },
    60_000,
  );

  it.each<[hazard: string, fault: Fault, rule: FaultRule, errorCode: ErrorCode, words: string[]]>([
    ['403 for everything', DENIED, { times: EVER }, 'MR_STORE_DENIED', ['403', 'AccessDenied', 'credentials']],
    [
      '403 for what is put',
      DENIED,
      { method: 'PUT', times: EVER },
      'MR_STORE_DENIED',
      ['put of ', '403', 'rights to list, get, put and delete'],
    ],
    ['500 for everything', INTERNAL, { times: EVER }, 'MR_STORE_UNAVAILABLE', ['500', 'failed 4 times', 'endpoint']],
    ['resets for everything', CUT_BEFORE, { times: EVER }, 'MR_STORE_UNAVAILABLE', ['failed 4 times', 'endpoint']],
    [
      '404 for the bucket',
      { kind: 'status', status: 404, code: 'NoSuchBucket' },
      { times: EVER },
      'MR_STORE_NO_BUCKET',
      ['lake', 'Create the bucket'],
    ],
  ])(
    '%s at the start ends it with a clear error; healed, it goes on and all is there',
    async (_, fault, rule, errorCode, words) => {
      const { pipeline, target, args } = await pipelineToS3();
      s3.inject(fault, rule);
      expectError(await cli(args), errorCode, words);
      s3.heal();
      await pipeline.succeeds(args);
      expect(await pipeline.verdicts(target)).toEqual(IDENTICAL);
    },
    60_000,
  );

  it('a bucket, an endpoint that is not there, and a target without a capture are told apart', async () => {
    const { pipeline } = await pipelineToS3();
    const elsewhere = (uri: string) => cli(pipeline.catchUp({ '--to': uri }));
    expectError(await elsewhere(s3.uri('x').replace('s3://lake', 's3://pond')), 'MR_STORE_NO_BUCKET', ['pond', 'Create the bucket']);
    expectError(await elsewhere('s3://lake/x?endpoint=http://127.0.0.1:1'), 'MR_STORE_UNAVAILABLE', ['ECONNREFUSED', 'endpoint']);
    const verified = await cli(['verify', '--from', pipeline.url, '--to', s3.uri('nothing-here'), '--wait', '100ms']);
    expectError(verified, 'MR_TARGET_LAGS', ['not there yet']);
    expect(await pipeline.traces()).toMatchObject({ slots: [], publications: [], checkpoint: null });
  }, 60_000);

  it.each<[hazard: string, faults: readonly (readonly [Fault, FaultRule])[], errorCode: ErrorCode, words: string[]]>([
    [
      '403 for data files',
      [[DENIED, { method: 'PUT', key: 'CDC', times: EVER }]],
      'MR_SINK_WRITE_FAILED',
      ['public', 'users', 'MR_STORE_DENIED', '403', 'rights to list'],
    ],
    [
      '403 for index files',
      [[DENIED, { method: 'PUT', key: 'CDC.index', times: EVER }]],
      'MR_SINK_WRITE_FAILED',
      ['CDC.index', 'MR_STORE_DENIED', '403'],
    ],
    [
      'a bucket that is gone',
      [[{ kind: 'status', status: 404, code: 'NoSuchBucket' }, { times: EVER }]],
      'MR_STORE_NO_BUCKET',
      ['lake', 'Create the bucket'],
    ],
    [
      'a store that has written and then denies',
      [
        [CUT_AFTER, { method: 'PUT', key: 'CDC' }],
        [DENIED, { times: EVER }],
      ],
      'MR_STORE_DENIED',
      ['403'],
    ],
    [
      'a checkpoint that cannot be written',
      [[DENIED, { method: 'PUT', key: '/metadata', times: EVER }]],
      'MR_STORE_DENIED',
      ['metadata', '403'],
    ],
  ])(
    '%s in the middle of a stream ends it, exit 1; healed and started again, nothing is lost or doubled',
    async (_, faults, errorCode, words) => {
      const { pipeline, target, args } = await pipelineToS3();
      await pipeline.succeeds(args);
      const { child, result } = startCli(pipeline.capture({ '--to': target }), s3.env);
      try {
        await pipeline.isStreaming(result);
        for (const [fault, rule] of faults) s3.inject(fault, rule);
        await pipeline.sql(
          `INSERT INTO users SELECT i, 'n' FROM generate_series(1000, 3000) i; UPDATE users SET email = 'z' WHERE id < 20; DELETE FROM events`,
        );
        expectError(await result, errorCode, words);
      } finally {
        child.kill('SIGKILL');
      }
      s3.heal();
      await pipeline.sql(`INSERT INTO users VALUES (5000, 'later')`);
      await pipeline.succeeds(args);
      expect(await pipeline.verdicts(target)).toEqual(IDENTICAL);
    },
    60_000,
  );

  it('a store that does not answer for long holds the stream, and an answer lets it go on', async () => {
    const { pipeline, target, args } = await pipelineToS3();
    await pipeline.succeeds(args);
    let answer = () => {};
    s3.inject({ kind: 'hold', until: new Promise<void>((resolve) => (answer = resolve)) }, { method: 'PUT', key: 'CDC' });
    await pipeline.sql(`INSERT INTO users SELECT i, 'n' FROM generate_series(1000, 3000) i`);
    const before = s3.requests.length;
    const caught = cli(args);
    while (!s3.requests.slice(before).some(({ method, key }) => method === 'PUT' && key.includes('CDC'))) await sleep(20);
    await sleep(1500);
    answer();
    expect((await caught).code).toBe(0);
    expect(await pipeline.verdicts(target)).toEqual(IDENTICAL);
  }, 60_000);

  it('a store that never answers ends a stop at its --drain-timeout, exit 1; started again, nothing is lost', async () => {
    const { pipeline, target, args } = await pipelineToS3();
    await pipeline.succeeds(args);
    s3.inject({ kind: 'hold', until: new Promise(() => {}) }, { method: 'PUT', key: 'CDC', times: EVER });
    await pipeline.sql(`INSERT INTO users SELECT i, 'n' FROM generate_series(1000, 3000) i`);
    expectError(await cli([...args, '--drain-timeout', '1s']), 'MR_DRAIN_TIMEOUT', ['--drain-timeout', 'events', 'not flushed']);
    s3.heal();
    await pipeline.succeeds(args);
    expect(await pipeline.verdicts(target)).toEqual(IDENTICAL);
  }, 60_000);
});
