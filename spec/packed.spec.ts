import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const ROOT = resolve(import.meta.dirname, '..');
const exec = promisify(execFile);

/** A user's program, from the published entry points alone: a custom source's rows, typed stages, files, and the reader of those files. */
const PROGRAM = `
import { defineTable, definePipeline, Delivery, describe, dispatcherOfTable, dmlEvent, fileCheckpoint, resolvedEvent, RowBlockWriter, run, toMermaid } from 'millrace';
import { filterRows, filterTables, lift, mapRows } from 'millrace/operators';
import { cloudStorage, readTable } from 'millrace/pipelines';
import { postgres } from 'millrace/sources/postgres';
import { openStore } from 'millrace/stores';
import { memorySource } from 'millrace/testing';
import { delay } from 'rxjs';

interface User { id: string; email: string | null }

const column = (name: string, columnId: number, isKey: boolean) => ({
  name, wireIndex: columnId - 1, columnId, type: 'text', typeModifier: -1, nullable: !isKey, isPrimaryKey: isKey, isIdentity: isKey, defaultText: null,
});
const users = defineTable({
  dispatcher: dispatcherOfTable('packed', 1), sourceSchema: 'public', sourceName: 'users', schema: 'public', name: 'users', tableId: 1, version: 5n,
  replicaIdentity: 'default', columns: [column('id', 1, true), column('email', 2, false)],
});
const rows = new RowBlockWriter(users).beginTransaction(10n, 1_700_000_000_000_000n).insert({ id: '1', email: 'A@X' }).insert({ id: '2', email: null }).build();

const pipeline = definePipeline({
  name: 'packed',
  source: memorySource({ deliveries: () => [new Delivery([dmlEvent(rows), resolvedEvent(11n)])] }),
  stages: [
    filterTables(['public.*']),
    mapRows<User>('public.users', (row) => row.update('email', (email) => email.toLowerCase())),
    filterRows<User>('public.users', (row) => row.get('id') !== '2'),
    lift('later', delay(1)),
  ],
  sink: cloudStorage({ uri: process.argv[2]!, protocol: 'canal-json' }),
  checkpoint: fileCheckpoint(process.argv[3]!),
});
// A definition connects nowhere.
postgres({ url: 'postgres://app:secret@nowhere/db', slot: 's', publication: 'p', tables: ['public.*'] });

await run(pipeline).done;
const store = await openStore(process.argv[2]!);
for await (const changes of readTable(store, { schema: 'public', table: 'users' })) for (const { op, data } of changes) console.log(op, JSON.stringify(data));
console.log(describe(pipeline).stages.map(({ name }) => name).join(','), toMermaid(describe(pipeline)).includes('mapRows'));
`;

/** Only a loader of TypeScript can read it. */
const DEFINITION = `
import { definePipeline, memoryCheckpoint, type PipelineDefinition } from 'millrace';
import { filterTables } from 'millrace/operators';
import { cloudStorage } from 'millrace/pipelines';
import { postgres } from 'millrace/sources/postgres';

export const orders: PipelineDefinition = definePipeline({
  name: 'orders',
  source: postgres({ url: 'postgres://app:secret@nowhere/db', slot: 's', publication: 'p', tables: ['public.*'] }),
  stages: [filterTables(['public.orders'])],
  sink: cloudStorage({ uri: 'file:///nowhere', protocol: 'csv' }),
  checkpoint: memoryCheckpoint(),
});
`;

describe('the packed tarball', () => {
  let dir: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'millrace-packed-'));
  });

  afterAll(async () => {
    await rm(dir, { recursive: true, force: true });
  });

  it('installs into an empty project, type-checks there, runs a pipeline, and its command describes a TypeScript module', async () => {
    await exec('npm', ['pack', '--pack-destination', dir], { cwd: ROOT });
    const tarball = (await readdir(dir)).find((name) => name.endsWith('.tgz'));
    await writeFile(join(dir, 'package.json'), JSON.stringify({ type: 'module', private: true }));
    await writeFile(join(dir, 'main.ts'), PROGRAM);
    const options = {
      strict: true,
      target: 'es2022',
      module: 'nodenext',
      types: ['node'],
      typeRoots: [join(ROOT, 'node_modules', '@types')],
    };
    await writeFile(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: ['main.ts'] }));
    await exec('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', join(dir, tarball!)], { cwd: dir });

    const compiled = await exec(join(ROOT, 'node_modules', '.bin', 'tsc'), ['-p', dir]).catch((error: { stdout: string }) => error);
    expect(compiled.stdout).toBe('');
    const ran = await exec(process.execPath, ['main.js', `file://${join(dir, 'out')}`, join(dir, 'state')], { cwd: dir });
    expect(ran.stdout.trim().split('\n')).toEqual(['I {"id":"1","email":"a@x"}', 'filterTables,mapRows,filterRows,later true']);
    const help = await exec(join(dir, 'node_modules', '.bin', 'millrace'), ['--help']);
    expect(help.stdout).toContain('capture');

    await writeFile(join(dir, 'orders.ts'), DEFINITION);
    const describe = () => exec(join(dir, 'node_modules', '.bin', 'millrace'), ['describe', join(dir, 'orders.ts')]);
    // Node's own loader of TypeScript, or tsx where the project has it.
    await symlink(join(ROOT, 'node_modules', 'tsx'), join(dir, 'node_modules', 'tsx'));
    expect(JSON.parse((await describe()).stdout)).toMatchObject({ name: 'orders', stages: [{ name: 'filterTables' }] });
  }, 240_000);
});
