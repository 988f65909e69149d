import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeDisk } from '../../../lib/stores/index.ts';
import { describeDisk } from '../../../lib/testing/disk-suite.ts';

describeDisk('of this machine', async () => {
  const root = await mkdtemp(join(tmpdir(), 'millrace-disk-'));
  return { disk: nodeDisk, root, close: () => rm(root, { recursive: true }) };
});
