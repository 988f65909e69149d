import { pathToFileURL } from 'node:url';
import { definePipeline, fileCheckpoint, run } from '../lib/index.ts';
import { postgres } from '../lib/sources/postgres/index.ts';
import { cloudStorage } from '../pipelines/index.ts';
import { measureSelf } from './measured-process.ts';

// Drains what the slot holds (or takes the snapshot) into files, with the checkpoint, as a user's pipeline does.
const [url, name, target, stateDir, snapshot, protocol] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  'initial' | 'never',
  'canal-json' | 'csv',
];

const pipeline = definePipeline({
  name,
  source: postgres({ url, slot: name, publication: 'bench', tables: ['public.bench'], snapshot }),
  stages: [],
  sink: cloudStorage({ uri: target.includes('://') ? target : pathToFileURL(target).href, protocol }),
  checkpoint: fileCheckpoint(stateDir),
});

await measureSelf(async () => {
  const running = run(pipeline, { until: 'caught-up' });
  let rows = 0;
  running.status$.subscribe({
    next: (status) => {
      rows = status.rows;
    },
    error: () => {},
  });
  await running.done;
  return rows;
});
