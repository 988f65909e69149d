import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { type CliResult, verdictsOf } from './cli.ts';
import type { TestPostgres } from './postgres.ts';

export type RunCli = (args: readonly string[]) => Promise<CliResult>;

/** A database with two small tables, and the command lines of a capture of it: slot, publication, state and target are its own. */
export class Pipeline {
  readonly server: TestPostgres;
  readonly name: string;
  readonly url: string;
  readonly target: string;
  readonly state: string;
  readonly out: string;
  readonly #cli: RunCli;

  private constructor(server: TestPostgres, name: string, url: string, folder: string, cli: RunCli) {
    this.#cli = cli;
    this.server = server;
    this.name = name;
    this.url = url;
    this.out = join(folder, 'out');
    this.target = pathToFileURL(this.out).href;
    this.state = join(folder, 'state');
  }

  static async create(server: TestPostgres, name: string, dir: string, cli: RunCli): Promise<Pipeline> {
    const url = await server.createDatabase(name);
    const folder = join(dir, name);
    await mkdir(folder, { recursive: true });
    const pipeline = new Pipeline(server, name, url, folder, cli);
    await pipeline.sql(`CREATE TABLE users (id int PRIMARY KEY, email text); INSERT INTO users SELECT i, 'u' || i FROM generate_series(1, 50) i;
      CREATE TABLE events (at int, what text); ALTER TABLE events REPLICA IDENTITY FULL; INSERT INTO events VALUES (1, 'a'), (1, 'a')`);
    return pipeline;
  }

  /** One that was captured before, and whose database has changed since. */
  static async captured(server: TestPostgres, name: string, dir: string, cli: RunCli): Promise<Pipeline> {
    const pipeline = await Pipeline.create(server, name, dir, cli);
    await pipeline.succeeds(pipeline.catchUp());
    await pipeline.sql(`INSERT INTO users VALUES (100, 'since then')`);
    return pipeline;
  }

  sql<Row extends Record<string, unknown>>(text: string): Promise<Row[]> {
    return this.server.query<Row>(text, [], this.name);
  }

  /** Parts given replace its own: `{ '--to': … }`. */
  capture(parts: Readonly<Record<string, string>> = {}, ...extra: string[]): string[] {
    const own = {
      '--from': this.url,
      '--to': this.target,
      '--state': this.state,
      '--slot': this.name,
      '--publication': this.name,
      '--flush-interval': '200ms',
      ...parts,
    };
    return ['capture', ...Object.entries(own).flat(), ...extra];
  }

  catchUp(parts: Readonly<Record<string, string>> = {}, ...extra: string[]): string[] {
    return this.capture(parts, '--until-caught-up', ...extra);
  }

  async succeeds(args: string[]): Promise<CliResult> {
    const result = await this.#cli(args);
    if (result.code !== 0) throw new Error(`millrace ${args.join(' ')} exited ${result.code}: ${result.stderr}${result.stdout}`);
    return result;
  }

  /** Resolves when somebody reads the slot: the capture of which this is the result; rejects when that ended before. */
  async isStreaming(result: Promise<CliResult>): Promise<void> {
    let ended: CliResult | null = null;
    result.then((early) => {
      ended = early;
    });
    const isActive = `SELECT FROM pg_replication_slots WHERE slot_name = '${this.name}' AND active`;
    while ((await this.sql(isActive)).length === 0) {
      if (ended !== null) throw new Error(`the capture ended: ${JSON.stringify(ended)}`);
      await sleep(50);
    }
  }

  /** What `verify` says of each table. */
  async verdicts(target = this.target): Promise<Record<string, string>> {
    const { stdout, stderr } = await this.#cli(['verify', '--from', this.url, '--to', target]);
    return stdout === '' ? { stderr } : verdictsOf(stdout);
  }

  /** Whatever a run leaves behind: on the server, in the state and at the target. */
  async traces(): Promise<object> {
    const slots = await this.sql(`SELECT slot_name, confirmed_flush_lsn FROM pg_replication_slots WHERE database = current_database()
      AND NOT temporary ORDER BY 1`);
    const publications = await this.sql(`SELECT p.oid, pubname, obj_description(p.oid, 'pg_publication') AS comment,
      (SELECT json_agg(r ORDER BY r.oid) FROM pg_publication_rel r WHERE r.prpubid = p.oid)::text AS tables FROM pg_publication p ORDER BY 1`);
    const checkpoint = await readFile(this.checkpointFile, 'utf8').catch(() => null);
    return { slots, publications, checkpoint, files: await filesBelow(this.out) };
  }

  get checkpointFile(): string {
    return join(this.state, `${this.name}.checkpoint.json`);
  }
}

/** Sizes by path of the files that a reader could see. */
export async function filesBelow(folder: string): Promise<Record<string, number>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return Object.fromEntries(await Promise.all(files.sort().map(async (path) => [path, (await stat(path)).size] as const)));
}

/** The errors that a command has told of, each once: code and message. */
export function errorsIn(stderr: string): { code: string; message: string }[] {
  return stderr.split('\n').flatMap((line) => {
    if (line.startsWith('millrace: ')) return [{ code: /MR_\w+/.exec(line)?.[0] ?? '', message: line }];
    if (!line.startsWith('{')) return [];
    const { level, err, msg } = JSON.parse(line) as { level: string; err?: { code?: string }; msg: string };
    return level === 'error' ? [{ code: err?.code ?? '', message: msg }] : [];
  });
}
