import { fileURLToPath, pathToFileURL } from 'node:url';
import { definePipeline, fileCheckpoint } from '../../lib/index.ts';
import { postgres } from '../../lib/sources/postgres/index.ts';
import { cloudStorage } from '../../pipelines/index.ts';

/** The whole pipeline: the shop's tables, snapshot first and then the stream, into canal-json files. */
export function shopPipeline(url: string, outDir: string, stateDir: string) {
  return definePipeline({
    name: 'first-light',
    source: postgres({ url, slot: 'first_light', publication: 'first_light', tables: ['public.*'], snapshot: 'initial' }),
    stages: [],
    sink: cloudStorage({ uri: pathToFileURL(outDir).href, protocol: 'canal-json', flushInterval: '1s', fileSize: '8MiB' }),
    checkpoint: fileCheckpoint(stateDir),
  });
}

/** Where `capture.ts` is: it runs the pipeline in a process of its own, so that it can be killed. */
export const CAPTURE_SCRIPT = fileURLToPath(new URL('./capture.ts', import.meta.url));
