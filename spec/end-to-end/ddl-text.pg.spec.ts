import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  isSchemaFilePath,
  parseSchemaFile,
  parseSchemaFilePath,
  schemaChecksum,
  stringifySchemaFile,
} from '../../lib/formats/storage-layout/index.ts';
import type { CliResult } from '../support/cli.ts';
import { CliServer } from '../support/cli-server.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';

describe('capture --ddl-text', () => {
  const commands = new CliServer();
  const { cli } = commands;
  let server: TestPostgres;
  let dir: string;

  beforeAll(async () => {
    server = await startPostgres();
    dir = await mkdtemp(join(tmpdir(), 'millrace-ddl-'));
  });
  afterAll(async () => {
    await Promise.all([server.stop(), commands.close()]);
    await rm(dir, { recursive: true, force: true });
  });

  const said: string[] = [];
  const succeeded = ({ code, stdout, stderr }: CliResult) => {
    said.push(stdout, stderr);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    return stdout;
  };

  /** The schema files of a target, oldest first, each as it stands there. */
  async function schemaFiles(name: string) {
    const paths = (await readdir(join(dir, name), { recursive: true })).filter(isSchemaFilePath);
    const files = await Promise.all(
      paths.map(async (path) => {
        const content = await readFile(join(dir, name, path), 'utf8');
        return { path, content, file: parseSchemaFile(content, path) };
      }),
    );
    return files.sort((a, b) => (a.file.TableVersion < b.file.TableVersion ? -1 : 1));
  }

  async function everything(name: string): Promise<string> {
    const entries = await readdir(join(dir, name), { recursive: true, withFileTypes: true });
    const contents = entries.filter((entry) => entry.isFile()).map((entry) => readFile(join(entry.parentPath, entry.name), 'utf8'));
    return (await Promise.all(contents)).join('\n');
  }

  const MADE = [
    ['', 0],
    [`ALTER TABLE "public"."t" ADD COLUMN "a" integer DEFAULT '3'`, 5],
    ['DROP TABLE "public"."t"', 4],
  ];

  it('brings texts into schema files where the sink is told to, and nowhere else', async () => {
    const url = await server.createDatabase('shop');
    const sql = (text: string) => server.query(text, [], 'shop');
    await sql('CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE TABLE kept (id int PRIMARY KEY)');
    const capture = (name: string, options: string) => {
      const target = `${pathToFileURL(join(dir, name)).href}${options}`;
      const names = ['--slot', name, '--publication', name, '--state', join(dir, `${name}.state`)];
      return cli(['capture', '--from', url, '--to', target, '--ddl-text', '--until-caught-up', ...names]);
    };
    for (const name of ['quiet', 'told']) {
      const names = ['--slot', name, '--publication', name];
      if (name === 'told') expect(succeeded(await cli(['ddl-text', '--from', url, ...names]))).toBe('ddl-text\ttold\tinstalled\n');
      succeeded(await capture(name, ''));
    }
    const alter = `ALTER TABLE t ADD COLUMN a int DEFAULT 3 /* hunter2 <&> ${'\u2028'} "quoted" */`;
    await sql(alter);
    await sql('INSERT INTO t VALUES (2)');
    succeeded(await capture('quiet', ''));
    succeeded(await capture('told', '?output-ddl-query=true'));
    await sql('DROP TABLE t -- hunter2');
    succeeded(await capture('quiet', ''));
    succeeded(await capture('told', '?output-ddl-query=true'));

    const quiet = await schemaFiles('quiet');
    const told = await schemaFiles('told');
    const ofT = (files: typeof quiet) => files.filter(({ file }) => file.Table === 't').map(({ file }) => [file.Query, file.Type]);
    expect(ofT(quiet)).toEqual(MADE);
    expect(ofT(told)).toEqual([MADE[0], [alter, 5], ['DROP TABLE t -- hunter2', 4]]);
    expect(await everything('quiet')).not.toContain('hunter2');
    for (const { path, content, file } of told) {
      expect(stringifySchemaFile(file)).toBe(content);
      expect(parseSchemaFilePath(path)).toMatchObject({ version: file.TableVersion, checksum: schemaChecksum({ ...file, Query: '' }) });
    }

    for (const name of ['quiet', 'told']) {
      const target = pathToFileURL(join(dir, name)).href;
      expect(succeeded(await cli(['verify', '--from', url, '--to', target]))).toBe('public.kept\tidentical\t0\t0\t\n');
      const lines = succeeded(await cli(['read', '--to', target, '--table', 'public.t']))
        .trimEnd()
        .split('\n');
      expect(lines.map((line) => (JSON.parse(line) as { op: string }).op)).toEqual(['I', 'I', 'T']);
      const removed = succeeded(await cli(['teardown', '--from', url, '--slot', name, '--publication', name]));
      expect(removed).toBe(`slot\t${name}\tdropped\npublication\t${name}\tdropped\nddl-text\t${name}\tdropped\n`);
    }
    expect(await sql('SELECT evtname FROM pg_event_trigger')).toEqual([]);
    expect(said.join('')).not.toContain('hunter2');
  }, 120_000);
});
