import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll } from '@jest/globals';
import { openStore } from '../../../lib/stores/index.ts';
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

describeObjectStore(
  's3, below a prefix',
  fixtures(() => server.uri(`lake of ${randomUUID()}/cdc`)),
);
describeObjectStore(
  's3 that ignores conditions, told so',
  fixtures(() => {
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
