import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { filter, firstValueFrom, map } from 'rxjs';
import { type Delivery, resolvedEvent } from '../../../lib/events/index.ts';
import { COMPONENT_METRICS, operator, silentLogger } from '../../../lib/flow/index.ts';
import { type PipelineDefinition, type Running, type RunOptions, run } from '../../../lib/runtime/index.ts';
import { delivery, errorOf, type Parts, pass, pipelineIn, rows, transaction, World } from '../../support/run-world.ts';
import { parseScrape, type Scrape } from '../../support/scrape.ts';

const runs: Running[] = [];
afterEach(() => Promise.all(runs.splice(0).map((running) => running.stop({ drain: false }).catch(() => {}))));

interface ServedRun {
  readonly running: Running;
  /** Up to the path. */
  readonly base: string;
  scrape(): Promise<Scrape>;
  /** Resolves when the source has emitted, and the sink taken in, everything up to there. */
  reached(resolvedTs: bigint): Promise<unknown>;
}

/** A run that serves its metrics at any free port, or where it is told. */
async function served(definition: PipelineDefinition, options: RunOptions = {}): Promise<ServedRun> {
  let tell = (_url: string) => {};
  const url = new Promise<string>((resolve) => {
    tell = resolve;
  });
  const info = (details: object) => ('url' in details ? tell(String(details.url)) : undefined);
  const running = run(definition, { metricsPort: 0, ...options, logger: { ...silentLogger, info } });
  runs.push(running);
  const base = (await Promise.race([url, running.done.then(() => url)])).replace(/\/metrics$/, '');
  return {
    running,
    base,
    scrape: async () => parseScrape(await (await fetch(`${base}/metrics`)).text()),
    reached: (resolvedTs) => firstValueFrom(running.status$.pipe(filter((status) => status.resolvedTs >= resolvedTs))),
  };
}

/** Keeps table `t` alone. */
const onlyT = (name: string) =>
  operator<Delivery, Delivery>(name, {}, () =>
    map((next) => next.with(next.events.filter((event) => event.type !== 'dml' || event.rows.table.name === 't'))),
  );

const component = (metric: string, kind: string, stage: string) =>
  `millrace_component_${metric}_total{kind="${kind}",stage="${stage}",pipeline="test"}`;

const traffic: Parts = {
  source: {
    stays: true,
    headTs: 9n,
    deliveries: () => [
      transaction(5n, 3),
      delivery(rows('users', 7n, 2), resolvedEvent(7n)),
      delivery(rows('t', 9n, 4), rows('users', 9n, 1, 4), resolvedEvent(9n)),
    ],
  },
  stages: [pass('first'), onlyT('onlyT')],
  // Of the last transaction nothing becomes durable.
  sink: { flushes: (event) => event.type === 'dml' && event.rows.first.commitTs < 9n },
};

describe('the metrics of a run', () => {
  it('say after known traffic what each component received, passed on and discarded', async () => {
    const { scrape, reached } = await served(pipelineIn(new World(), traffic));
    await reached(9n);
    const { series } = await scrape();
    const expected: [string, string, Record<string, number>][] = [
      ['source', 'world', { events_out: 4, rows_out: 10, bytes_out: 700, errors: 0 }],
      ['stage', 'first', { events_in: 4, rows_in: 10, bytes_in: 700, events_out: 4, rows_out: 10, bytes_out: 700, events_discarded: 0 }],
      ['stage', 'onlyT', { events_in: 4, rows_in: 10, events_out: 2, rows_out: 7, bytes_out: 500 }],
      ['stage', 'onlyT', { events_discarded: 2, rows_discarded: 3, bytes_discarded: 200, errors: 0 }],
      ['sink', 'memory', { events_in: 2, rows_in: 7, bytes_in: 500, events_out: 1, rows_out: 3, bytes_out: 16, errors: 0 }],
    ];
    for (const [kind, stage, values] of expected) {
      for (const [metric, value] of Object.entries(values)) {
        const name = component(metric, kind, stage);
        expect([name, series.get(name)]).toEqual([name, value]);
      }
    }
  });

  it('say where source, checkpoint and sink stand, and what was saved', async () => {
    let confirm = () => {};
    const confirmed = new Promise<void>((resolve) => {
      confirm = resolve;
    });
    const { scrape, reached } = await served(pipelineIn(new World(), { ...traffic, source: { ...traffic.source, onConfirm: confirm } }));
    await reached(9n);
    await confirmed;
    const { series } = await scrape();
    const value = (name: string) => series.get(`millrace_${name}`);
    expect(value('resolved_ts{pipeline="test"}')).toBe(9);
    expect(value('source_ts{pipeline="test"}')).toBe(9);
    expect(value('checkpoint_ts{pipeline="test"}')).toBe(8);
    expect(value('pending_events{pipeline="test"}')).toBe(1);
    expect(value('pending_bytes{pipeline="test"}')).toBe(0);
    expect(value('run_phase{phase="streaming",pipeline="test"}')).toBe(1);
    expect(value('run_phase{phase="failed",pipeline="test"}')).toBe(0);
    expect(value('source_snapshot_rows_total{pipeline="test"}')).toBe(0);
    expect(value('checkpoint_save_duration_seconds_count{pipeline="test"}')).toBeGreaterThan(0);
    // Nobody knows how old a position without a commit time is.
    expect(series.has('millrace_checkpoint_lag_seconds{pipeline="test"}')).toBe(false);
  });

  it('have the same names on every component', async () => {
    const { scrape, reached } = await served(pipelineIn(new World(), traffic));
    await reached(9n);
    const { types, series } = await scrape();
    for (const { name, kind } of Object.values(COMPONENT_METRICS)) {
      expect(types.get(`millrace_${name}`)).toBe(kind);
      for (const [part, stage] of [
        ['source', 'world'],
        ['stage', 'first'],
        ['stage', 'onlyT'],
        ['sink', 'memory'],
      ]) {
        expect(series.has(`millrace_${name}{kind="${part}",stage="${stage}",pipeline="test"}`)).toBe(true);
      }
    }
  });

  it('tell two stages of one name apart', async () => {
    const { scrape, reached } = await served(pipelineIn(new World(), { ...traffic, stages: [onlyT('keep'), onlyT('keep')] }));
    await reached(9n);
    const { series } = await scrape();
    expect(series.get(component('rows_in', 'stage', 'keep'))).toBe(10);
    expect(series.get(component('rows_in', 'stage', 'keep#2'))).toBe(7);
  });

  it('carry the name of a stage escaped, and without the credentials in it', async () => {
    const odd = 'a "b" \\ c\nd';
    const secret = 'post to https://user:hunter2@example.org/?x=1 password=hunter2';
    const { scrape, reached } = await served(pipelineIn(new World(), { ...traffic, stages: [pass(odd), pass(secret)] }));
    await reached(9n);
    const { text, series } = await scrape();
    expect(series.has(component('errors', 'stage', 'a \\"b\\" \\\\ c\\nd'))).toBe(true);
    expect(text).toContain('post to https://');
    expect(text).not.toContain('hunter2');
  });

  it('have what a stage counts of its own', async () => {
    const counting = operator<Delivery, Delivery>('mine', {}, ({ metrics }) =>
      map((next) => {
        metrics.add('deliveries "seen"', 1, 'mine');
        return next;
      }),
    );
    const { scrape, reached } = await served(pipelineIn(new World(), { ...traffic, stages: [counting] }));
    await reached(9n);
    const { series } = await scrape();
    expect(series.get('millrace_custom_total{name="deliveries \\"seen\\"",stage="mine",pipeline="test"}')).toBe(3);
  });

  it('of two runs in one process stay apart', async () => {
    const one = await served(pipelineIn(new World(), traffic));
    const two = await served({ ...pipelineIn(new World(), { source: { stays: true, deliveries: () => [transaction(5n)] } }), name: 'two' });
    await Promise.all([one.reached(9n), two.reached(5n)]);
    const [ofOne, ofTwo] = [await one.scrape(), await two.scrape()];
    expect(ofOne.series.get(component('rows_out', 'source', 'world'))).toBe(10);
    expect(ofTwo.series.get(component('rows_out', 'source', 'world').replace('"test"', '"two"'))).toBe(1);
    expect(ofTwo.text).not.toContain('pipeline="test"');
  });
});

describe('the server of the metrics', () => {
  it('listens on the loopback interface, for the time of the run alone', async () => {
    const { base, running } = await served(pipelineIn(new World(), traffic));
    expect(base).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    const response = await fetch(`${base}/metrics`);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    await running.stop({ drain: false });
    await expect(fetch(`${base}/metrics`)).rejects.toThrow('fetch failed');
  });

  it('is not there unless it is asked for', async () => {
    const listening = () => process.getActiveResourcesInfo().filter((resource) => resource === 'TCPSERVERWRAP');
    const before = listening();
    const running = run(pipelineIn(new World(), traffic), {});
    runs.push(running);
    await firstValueFrom(running.status$.pipe(filter(({ resolvedTs }) => resolvedTs === 9n)));
    expect(listening()).toEqual(before);
  });

  it('says at /healthz whether the run is well, and its phase', async () => {
    const { base, reached } = await served(pipelineIn(new World(), traffic));
    await reached(9n);
    const response = await fetch(`${base}/healthz`);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: 'ok', pipeline: 'test', phase: 'streaming' });
  });

  it('says at /healthz that a run has failed, while its parts are closing', async () => {
    let fail = () => {};
    const failing = new Promise<void>((resolve) => {
      fail = resolve;
    });
    async function* deliveries() {
      await failing;
      yield transaction(5n);
      throw new Error('boom');
    }
    let health = { status: 0, body: {} };
    const onClose = async () => {
      const response = await fetch(`${base}/healthz`);
      health = { status: response.status, body: (await response.json()) as object };
    };
    const { base, running } = await served(pipelineIn(new World(), { source: { deliveries, onClose } }));
    fail();
    expect((await errorOf(running.done)).code).toBe('MR_SOURCE_FAILED');
    expect(health).toMatchObject({ status: 503, body: { status: 'failed', pipeline: 'test' } });
  });

  it.each([
    ['GET', '/', 404],
    ['GET', '/metrics/x', 404],
    ['POST', '/metrics', 405],
    ['DELETE', '/healthz', 405],
    ['HEAD', '/metrics', 200],
    ['GET', '/metrics?name[]=x', 200],
  ])('answers %s %s with %i', async (method, path, status) => {
    const { base } = await served(pipelineIn(new World(), traffic));
    const response = await fetch(`${base}${path}`, { method });
    await response.arrayBuffer();
    expect(response.status).toBe(status);
  });

  it('fails the run, naming the address and what to do, where the port is in use', async () => {
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
    const { port } = holder.address() as AddressInfo;
    const world = new World();
    try {
      const error = await errorOf(run(pipelineIn(world, traffic), { metricsPort: port }).done);
      expect(error).toMatchObject({ code: 'MR_METRICS_UNSERVED', details: { address: `127.0.0.1:${port}`, reason: 'the port is in use' } });
      expect(error.remedy).toContain('--metrics-port');
      // Nothing was opened, and the place of the pipeline is free again.
      expect(world.entries('sink.open', 'source.open')).toEqual([]);
      await (await served(pipelineIn(world, traffic))).running.stop({ drain: false });
    } finally {
      await new Promise((resolve) => holder.close(resolve));
    }
  });

  it('fails the run where this machine has no such address', async () => {
    const error = await errorOf(run(pipelineIn(new World(), traffic), { metricsPort: '192.0.2.1:9464' }).done);
    expect(error).toMatchObject({ code: 'MR_METRICS_UNSERVED', details: { reason: 'this machine has no such address' } });
  });

  it.each(['localhost:0', '127.0.0.1:0', '0'])('listens where %s says', async (metricsPort) => {
    const { base, scrape } = await served(pipelineIn(new World(), traffic), { metricsPort });
    expect(base).toMatch(/^http:\/\/(localhost|127\.0\.0\.1):[1-9]\d*$/);
    expect((await scrape()).types.size).toBeGreaterThan(10);
  });

  it.each<number | string>([-1, 65_536, 1.5, '', 'x', 'host:', ':9464', '1:2:3', '[::1]', 'http://x:1', 'a b:1'])(
    'refuses %j at once',
    (metricsPort) => {
      expect(() => run(pipelineIn(new World(), {}), { metricsPort })).toThrow(/^MR_INVALID_OPTION: option metricsPort is .*host:port/);
    },
  );
});
