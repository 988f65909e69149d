import { definePipeline, fileCheckpoint } from '../../lib/index.ts';
import { postgres } from '../../lib/sources/postgres/index.ts';
import { mapRows } from '../../operators/index.ts';
import { cloudStorage } from '../../pipelines/index.ts';

interface User {
  id: string;
  email: string | null;
}

/** Nobody in the lake needs to know who somebody is, only where he has his mail. */
const masked = mapRows<User>('public.users', (row) => row.update('email', (email) => email.replace(/^[^@]*/, '***')));

/** The pipeline as it runs in production. Nothing connects until it is run, so a test can take it as it is. */
export const users = definePipeline({
  name: 'users-to-lake',
  source: postgres({ url: process.env['DATABASE_URL'] ?? 'postgres://localhost/shop', slot: 'users', publication: 'users' }),
  stages: [masked],
  sink: cloudStorage({ uri: 's3://lake/users', protocol: 'canal-json', flushInterval: '5s' }),
  checkpoint: fileCheckpoint('./state'),
});
