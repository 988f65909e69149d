import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const ROOT = join(import.meta.dirname, '..');
const BIOME = join(ROOT, 'node_modules/@biomejs/biome/bin/biome');

type Case = readonly [folder: string, code: string];

/** `npm run check` refuses each of these. */
const REFUSED: readonly Case[] = [
  ['lib', "import './events/index.ts';"],
  ['lib/events', "import { map } from 'rxjs'; map();"],
  ['lib/events', "import '../flow/index.ts';"],
  ['lib/events', "import '.././flow/index.ts';"],
  ['lib/events', "import './../flow/index.ts';"],
  ['lib/events', "import '../units.ts';"],
  ['lib/events', "import 'node:fs';"],
  ['lib/events', "export type * from '../formats/json.ts';"],
  ['lib/events', "export * from '../formats/json.ts';"],
  ['lib/events', "import type { Json } from '../formats/json.ts'; export type Same = Json;"],
  ['lib/events', "export type Json = import('../formats/json.ts').Json;"],
  ['lib/events', "export const late = () => import('../formats/json.ts');"],
  ['lib/events', `${'// a long file\n'.repeat(300)}export { pump } from '../flow/index.ts';`],
  ['lib/formats', "import 'pg';"],
  ['lib/formats', "import '@aws-sdk/client-s3';"],
  ['lib/formats', "import 'ix/asynciterable';"],
  ['lib/formats', "import 'node:net';"],
  ['lib/formats', "import '../flow/index.ts';"],
  ['lib/formats/pgoutput', "import '../../flow/index.ts';"],
  ['lib/formats/pgoutput', "import '../../stores/index.ts';"],
  ['lib/formats/storage-layout', "import 'node:fs/promises';"],
  ['lib/flow', "import '../stores/index.ts';"],
  ['lib/flow', "import '../runtime/index.ts';"],
  ['lib/flow', "import '../index.ts';"],
  ['lib/flow', "import 'pg';"],
  ['lib/stores', "import '../runtime/index.ts';"],
  ['lib/stores', "import '../sources/source.ts';"],
  ['lib/stores', "import 'pg';"],
  ['lib/sources', "import '../stores/index.ts';"],
  ['lib/sources/postgres', "import '../../stores/index.ts';"],
  ['lib/sources/postgres', "import '../../runtime/index.ts';"],
  ['lib/sources/postgres', "import '../../testing/index.ts';"],
  ['lib/runtime', "import '../sources/postgres/index.ts';"],
  ['lib/runtime', "import '../testing/index.ts';"],
  ['lib/runtime', "import '../../operators/index.ts';"],
  ['lib/testing', "import '../../operators/index.ts';"],
  ['lib/testing/simulator', "import '../../../pipelines/index.ts';"],
  ['operators', "import '../pipelines/index.ts';"],
  ['operators', "import '../lib/stores/index.ts';"],
  ['operators', "import '../lib/testing/index.ts';"],
  ['operators', "import 'millrace';"],
  ['pipelines/cloud-storage-sink', "import '../../bin/options.ts';"],
  ['pipelines/cloud-storage-sink', "import '../../lib/testing/index.ts';"],
  ['pipelines', "import '../spec/support/run-world.ts';"],
  ['pipelines/cloud-storage-sink', "import 'pg';"],
  ['pipelines/cloud-storage-sink', "import 'croner';"],
  ['pipelines/event-recorder/handlers', "import '../../../lib/testing/index.ts';"],
  ['pipelines/event-recorder/handlers', "import '../../../bin/options.ts';"],
  ['bin', "import '../examples/first-light/pipeline.ts';"],
];

/** And none of these. */
const ALLOWED: readonly Case[] = [
  ['lib/events', "import './row.ts'; import '../errors.ts';"],
  ['lib/formats', "import '../events/index.ts'; import './json.ts';"],
  ['lib/formats/pgoutput', "import '../../events/index.ts'; import '../json.ts'; import '../../errors.ts';"],
  ['lib/flow', "import { map } from 'rxjs'; import '../formats/json.ts'; map();"],
  ['lib/stores', "import '../flow/index.ts'; import 'node:fs/promises'; import '@aws-sdk/client-s3';"],
  ['lib/sources/postgres', "import '../../flow/index.ts'; import '../source.ts'; import 'pg'; import 'node:net';"],
  ['lib/runtime', "import '../stores/index.ts'; import '../sources/source.ts'; import 'pino';"],
  ['operators', "import '../lib/flow/index.ts'; import { map } from 'rxjs'; map();"],
  ['pipelines/cloud-storage-sink', "import '../storage-reader/index.ts'; import '../../operators/index.ts'; import '../../lib/index.ts';"],
  ['pipelines/event-recorder/handlers', "import '../rows.ts'; import '../../../lib/index.ts'; import 'pg'; import 'croner';"],
  ['bin', "import '../pipelines/index.ts'; import { Command } from 'commander'; new Command();"],
];

describe('the arrows between folders', () => {
  let dir: string;
  let refused: ReadonlySet<string>;
  const fileOf = (folder: string, name: string) => `${folder}/${name}.ts`;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'millrace-arrows-'));
    for (const config of ['biome.json', 'arrows.biome.json', 'no-import-types.grit', '.gitignore']) {
      await copyFile(join(ROOT, config), join(dir, config));
    }
    const write = async (folder: string, name: string, code: string) => {
      await mkdir(join(dir, folder), { recursive: true });
      await writeFile(join(dir, fileOf(folder, name)), `${code}\n`);
    };
    for (const [index, [folder, code]] of REFUSED.entries()) await write(folder, `refused-${index}`, code);
    for (const [index, [folder, code]] of ALLOWED.entries()) await write(folder, `allowed-${index}`, code);
    for (const folder of await folders()) await write(folder, 'stranger', "import 'a-package-that-nobody-has-allowed';");
    await write('lib/flow', 'round', "import { there } from './there.ts'; export const round = there;");
    await write('lib/flow', 'there', "import { round } from './round.ts'; export const there = round;");
    refused = await lint(dir);
  }, 60_000);

  afterAll(() => rm(dir, { recursive: true, force: true }));

  it.each(REFUSED.map(([folder, code], index) => [folder, code.slice(-60), index] as const))(
    'point one way: %s may not %j',
    (folder, _, index) => {
      expect(refused).toContain(fileOf(folder, `refused-${index}`));
    },
  );

  it.each(ALLOWED.map(([folder, code], index) => [folder, code, index] as const))(
    'leave %s what it is built on: %j',
    (folder, _, index) => {
      expect(refused).not.toContain(fileOf(folder, `allowed-${index}`));
    },
  );

  it('hold in every folder that there is, so that a new one cannot be forgotten', async () => {
    for (const folder of await folders()) expect(refused).toContain(fileOf(folder, 'stranger'));
  });

  it('never lead back to where they begin', () => {
    expect(refused).toContain(fileOf('lib/flow', 'round'));
  });
});

/** Every folder of ours that holds what is published. */
async function folders(): Promise<string[]> {
  const found: string[] = [];
  for (const top of ['lib', 'operators', 'pipelines', 'bin']) {
    found.push(top);
    for (const entry of await readdir(join(ROOT, top), { recursive: true, withFileTypes: true })) {
      if (entry.isDirectory())
        found.push(
          join(entry.parentPath, entry.name)
            .slice(ROOT.length + 1)
            .replaceAll('\\', '/'),
        );
    }
  }
  return found;
}

/** The files below `dir` in which an import is refused. */
async function lint(dir: string): Promise<Set<string>> {
  const args = ['lint', '--reporter=github', '--max-diagnostics=none', dir];
  const { stdout } = await promisify(execFile)(process.execPath, [BIOME, ...args], { cwd: dir, maxBuffer: 1 << 26 }).catch(
    (error: { stdout: string }) => error,
  );
  const rules = /^::error title=(?:lint\/style\/noRestrictedImports|lint\/suspicious\/noImportCycles|plugin),file=([^,]+),/gm;
  return new Set(
    [...stdout.matchAll(rules)].map(([, file]) => file!.slice(file!.lastIndexOf(dir) + (file!.includes(dir) ? dir.length + 1 : 0))),
  );
}
