import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { deadLetterFile, eventRecorder, postgresEvents, slowOperations } from '../../../pipelines/index.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';

describe('eventRecorder with postgresEvents', () => {
  let server: TestPostgres;
  let dir: string;

  beforeAll(async () => {
    server = await startPostgres();
    dir = await mkdtemp(join(tmpdir(), 'millrace-recorder-'));
  });
  afterAll(async () => {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('G1, G2, G5, G7: events recorded while the server goes away twice and comes back are all there, once each, in the order of their recording', async () => {
    const url = await server.createDatabase('goes_away');
    const recorder = await eventRecorder({
      handler: postgresEvents({ url }),
      overflow: 'block',
      queueEvents: 500,
      batchEvents: 20,
      linger: 5,
      retry: { base: 10, cap: 100 },
      whenExhausted: 'keep',
    }).open();
    const recorded: string[] = [];
    let isOver = false;
    const producer = (async () => {
      for (let n = 0; !isOver; n++) {
        const outcome = await recorder.record({ type: n % 3 === 0 ? 'third' : 'other', payload: { n } });
        if (outcome.accepted) recorded.push(outcome.id);
        if (n % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    const deliveredSome = async () => {
      const { delivered } = recorder.status();
      while (recorder.status().delivered < delivered + 200) await new Promise((resolve) => setImmediate(resolve));
    };
    await deliveredSome();
    await server.restart('immediate');
    await deliveredSome();
    await server.restart('fast');
    await deliveredSome();
    isOver = true;
    await producer;
    const report = await recorder.close(60_000);
    expect(report).toMatchObject({ isComplete: true, accepted: recorded.length, delivered: recorded.length, pending: 0 });
    expect(recorder.status().failures).toBeGreaterThan(0);
    const rows = await server.query<{ event_id: string }>('SELECT event_id FROM events ORDER BY event_seq', [], 'goes_away');
    expect(rows).toHaveLength(recorded.length);
    expect(rows.findIndex(({ event_id }, index) => event_id !== recorded[index])).toBe(-1);
    // What was written first of each type was recorded first: order by where the row stands in the table.
    const late = await server.query(
      `SELECT 1 FROM (SELECT event_seq, lag(event_seq) OVER (PARTITION BY type ORDER BY ctid) AS before FROM events) o WHERE before > event_seq`,
      [],
      'goes_away',
    );
    expect(late).toEqual([]);
  });

  it('W5, C5.13: of a hundred events the two that the server cannot take become dead letters, the others are there', async () => {
    const url = await server.createDatabase('poison');
    const path = join(dir, 'dead.jsonl');
    const recorder = await eventRecorder({ handler: postgresEvents({ url }), deadLetters: deadLetterFile(path), linger: 10 }).open();
    recorder.record({ type: 'a' });
    while (recorder.status().delivered < 1) await new Promise((resolve) => setImmediate(resolve));
    await server.query(`ALTER TABLE events ADD CHECK (payload <> '13')`, [], 'poison');
    // One is found by the handler, the other only by the server, which does not say which one it is.
    for (let n = 1; n <= 100; n++) recorder.record({ type: 'a', payload: n === 50 ? 'a\0b' : n });
    const report = await recorder.close(60_000);
    expect(report).toMatchObject({ accepted: 101, delivered: 99, deadLettered: 2, dropped: { rejected: 2, exhausted: 0 } });
    const [row] = await server.query<{ count: string }>(`SELECT count(*) FROM events WHERE payload = '13' OR payload = '50'`, [], 'poison');
    expect(row!.count).toBe('0');
    const letters = (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '');
    expect(letters.map((line) => (JSON.parse(line) as { error: string }).error)).toEqual([
      expect.stringContaining('no NUL'),
      expect.stringContaining('23514'),
    ]);
  });

  it('C5.40: a producer whose recorder has nowhere to deliver to goes on as if there were none', async () => {
    const recorder = await eventRecorder({
      handler: postgresEvents({ url: 'postgres://app@127.0.0.1:1/none' }),
      queueEvents: 5,
      linger: 1,
    }).open();
    const slow = slowOperations({ events: recorder });
    for (let n = 0; n < 50; n++) slow.start('work').end({ force: true });
    const report = await recorder.close(0);
    expect(report.accepted).toBe(report.dropped.closed + report.dropped.exhausted + report.delivered);
    expect(report.refused.overflow).toBeGreaterThanOrEqual(40);
    slow.start('work').end({ force: true });
  });
});
