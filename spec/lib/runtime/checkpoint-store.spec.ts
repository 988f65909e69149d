import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileCheckpoint } from '../../../lib/runtime/checkpoint-file.ts';
import { memoryCheckpoint } from '../../../lib/runtime/checkpoint-memory.ts';
import { describeCheckpointStore } from '../../../lib/testing/checkpoint-store-suite.ts';

describeCheckpointStore('memory', async () => {
  const store = memoryCheckpoint();
  return { store, again: async () => store, close: async () => {} };
});

describeCheckpointStore('file', async () => {
  const root = await mkdtemp(join(tmpdir(), 'millrace-state-'));
  const open = () => fileCheckpoint(join(root, 'a', 'state'));
  return { store: open(), again: async () => open(), close: () => rm(root, { recursive: true, force: true }) };
});
