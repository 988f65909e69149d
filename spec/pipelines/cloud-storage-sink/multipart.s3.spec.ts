import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { dmlEvent, RowBlockWriter } from '../../../lib/events/index.ts';
import { openS3Store } from '../../../lib/stores/s3.ts';
import { readTable } from '../../../pipelines/index.ts';
import { instantClock } from '../../support/instant-clock.ts';
import { type S3Server, startS3 } from '../../support/s3.ts';
import { runSink, table } from '../../support/sink-world.ts';

const MIB = 1024 * 1024;
const users = table('users', 1n, ['id', 'name'], ['id']);
const NONE = { dateSeparator: 'none', fileIndexDigit: 6, fileSize: '64MiB' } as const;

/** One file of two parts and more. */
const history = [
  {
    commitTs: 10n,
    events: () => {
      const writer = new RowBlockWriter(users).beginTransaction(10n);
      for (const id of ['1', '2', '3']) writer.insert({ id, name: id.repeat(4 * MIB) });
      return [dmlEvent(writer.build())];
    },
  },
];

/** spec storage-sink §1: the close of an upload is its commit point. */
describe('a data file that goes to S3 in parts', () => {
  let server: S3Server;

  beforeAll(async () => {
    server = await startS3();
  });

  afterAll(() => server.close());

  it.each(['UploadPart', 'CompleteMultipartUpload'] as const)(
    '#3371, #3374: is neither there nor acked when %s fails for good, and is there once after a restart',
    async (operation) => {
      const uri = server.uri(randomUUID());
      const store = await openS3Store(uri, { clock: instantClock(), retries: 1, multipartBytes: 5 * MIB, partBytes: 5 * MIB });
      server.inject(
        { kind: 'status', status: 503, code: 'SlowDown' },
        { operation, key: 'CDC000001.json', times: Number.POSITIVE_INFINITY },
      );
      const failed = await runSink(store, history, NONE, { checkpointTs: 0n, hasOrdinals: true });
      expect(failed).toMatchObject({ error: { code: 'MR_SINK_WRITE_FAILED' }, checkpointTs: 9n });
      const keys: string[] = [];
      for await (const { key } of store.list('public/')) keys.push(key);
      expect(keys.filter((key) => /CDC000001\.json$|CDC\.index$/.test(key))).toEqual([]);
      server.heal();
      const again = await runSink(store, history, NONE, { checkpointTs: failed.checkpointTs, hasOrdinals: true });
      expect(again.error).toBeNull();
      const ids: (string | null | undefined)[] = [];
      for await (const changes of readTable(store, { schema: 'public', table: 'users' }))
        for (const { data } of changes) ids.push(data?.['id']);
      expect(ids).toEqual(['1', '2', '3']);
      await store.close();
    },
    60_000,
  );
});
