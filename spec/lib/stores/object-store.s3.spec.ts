import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll } from '@jest/globals';
import { openS3Store, openStore } from '../../../lib/stores/index.ts';
import { describeObjectStore } from '../../../lib/testing/object-store-suite.ts';
import { type S3Server, startS3 } from '../../support/s3.ts';

let server: S3Server;
beforeAll(async () => {
  server = await startS3();
});
afterAll(() => server.close());

const fixtures = (uri: () => string) => async () => {
  const address = uri();
  const open = () => openStore(address);
  return { store: await open(), another: open, close: async () => {} };
};

/** In parts from 5 MiB on, so that less has to be sent. */
const inSmallParts = (uri: () => string) => async () => {
  const address = uri();
  const open = () => openS3Store(address, { multipartBytes: 5 * MIB, partBytes: 5 * MIB });
  return { store: await open(), another: open, largeBytes: 5 * MIB + 1, close: async () => {} };
};
const MIB = 1024 * 1024;

describeObjectStore(
  's3, below a prefix',
  fixtures(() => server.uri(`lake of ${randomUUID()}/cdc`)),
);
describeObjectStore(
  's3, several parts at once, with CRC32',
  inSmallParts(() => server.uri(randomUUID(), { 'flush-concurrency': '4', checksum: 'crc32' })),
);
describeObjectStore(
  's3 that honours conditions on puts alone',
  inSmallParts(() => {
    server.completions = 'ignored';
    return server.uri(randomUUID());
  }),
);
describeObjectStore(
  's3 that ignores conditions, told so',
  inSmallParts(() => {
    server.conditions = 'ignored';
    return server.uri(randomUUID(), { 'conditional-writes': 'false' });
  }),
);

const endpoint = process.env['MILLRACE_TEST_S3_ENDPOINT'];
if (endpoint !== undefined) {
  const bucket = process.env['MILLRACE_TEST_S3_BUCKET'] ?? 'millrace-test';
  describeObjectStore(
    `s3 at ${endpoint}`,
    fixtures(() => `s3://${bucket}/${randomUUID()}?${new URLSearchParams({ endpoint })}`),
  );
}
