import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { openStore } from '../../../lib/stores/index.ts';
import { FaultStore } from '../../support/fault-store.ts';
import { EVERY_ROW, historyOf, SMALL_FILES } from '../../support/once-world.ts';
import { publishedRows } from '../../support/published.ts';
import { type S3Server, startS3 } from '../../support/s3.ts';
import { runSink } from '../../support/sink-world.ts';

const ONCE = { hasOrdinals: true };

describe('exactly once in the files, on S3', () => {
  let server: S3Server;

  beforeAll(async () => {
    server = await startS3();
  });

  afterAll(() => server.close());

  it('a writer that is killed between sidecar, data and index leaves each row in one published file', async () => {
    const counted = new FaultStore(await openStore(server.uri(randomUUID())));
    await runSink(counted, historyOf(2), SMALL_FILES, ONCE);
    const puts = counted.log.flatMap((call, index) => (/^put.*users.*CDC/.test(call) ? [index + 1] : []));
    // Of the first two files of one table: sidecar, data, index.
    for (const at of puts.slice(0, 6)) {
      for (const when of ['before', 'after'] as const) {
        const store = await openStore(server.uri(randomUUID()));
        const { checkpointTs } = await runSink(new FaultStore(store, { at, when }), historyOf(2), SMALL_FILES, ONCE);
        const again = await runSink(store, historyOf(3), SMALL_FILES, { ...ONCE, checkpointTs });
        expect({ at, when, error: again.error }).toEqual({ at, when, error: null });
        expect({ at, when, rows: await publishedRows(store) }).toEqual({ at, when, rows: EVERY_ROW });
        await store.close();
      }
    }
  }, 120_000);

  it('I9: an index whose put was given up and that comes late, behind those of the next writer, is refused by If-Match', async () => {
    const prefix = randomUUID();
    const uri = server.uri(prefix);
    const [slow, store] = [await openStore(uri), await openStore(uri)];
    await runSink(store, historyOf(2).slice(0, 1), SMALL_FILES, ONCE);
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    server.inject({ kind: 'hold', until }, { method: 'PUT', key: `${prefix}/public/users/7/meta/CDC.index` });
    let isOver = false;
    const first = runSink(slow, historyOf(2), SMALL_FILES, { ...ONCE, checkpointTs: 10n }).finally(() => {
      isOver = true;
    });
    const isHeld = () =>
      server.requests.some(({ key, headers }) => key === `${prefix}/public/users/7/meta/CDC.index` && headers['if-match'] !== undefined);
    while (!isHeld() && !isOver) await sleep(20);
    const second = await runSink(store, historyOf(3), SMALL_FILES, { ...ONCE, checkpointTs: 10n });
    expect(second.error).toBeNull();
    const index = await publishedRows(store);
    release();
    expect((await first).error).toMatchObject({ code: 'MR_STALE_EPOCH' });
    expect(await publishedRows(store)).toEqual(index);
    expect(index).toEqual(EVERY_ROW);
  }, 60_000);
});
