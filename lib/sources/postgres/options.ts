import type pg from 'pg';
import { MillraceError } from '../../errors.ts';
import { tableMatcher } from '../../events/index.ts';
import { type PlainOptions, SLOW_OPERATIONS_TABLE, SYSTEM_EVENTS_TABLE } from '../../flow/index.ts';
import { redactUrl } from '../../redact.ts';
import { parseBytes, parseDurationMs } from '../../units.ts';

/** What `postgres` is given. */
export interface PostgresOptions {
  /** `postgres://user:password@host:port/database`; query parameters as `pg` knows them (`sslmode`, …). The role needs REPLICATION and SELECT. */
  readonly url: string;
  /** The replication slot, created at the first start: 1–63 characters of a–z, 0–9 and _. Default `millrace`. */
  readonly slot?: string;
  /** The publication. One that exists is used as it is; else it is created, and kept in step with `tables`. Default `millrace`. */
  readonly publication?: string;
  /**
   * Patterns of the captured tables (`public.*`, `!public.audit_*`). Default: every user table, or what an existing publication holds. What a run tells of itself
   * (`millrace_events`, `millrace_slow_operations`, in any schema) is left out unless a pattern names it: `public.millrace_*`.
   */
  readonly tables?: readonly string[];
  /** `initial`: the rows that are there at the first start are copied before the stream. `never`: changes only. Default `initial`. */
  readonly snapshot?: 'initial' | 'never';
  /** Tables, as patterns, that are copied anew at this start, as a new version each. A pattern that fits no captured table is an error of the start. */
  readonly resnapshot?: readonly string[];
  /** A warning is logged when the slot makes the server keep more WAL than this. Default `10GiB`. */
  readonly maxWal?: string | number;
  /** Tables copied at once, 1–64, each on a connection of its own. Default 4. */
  readonly snapshotConnections?: number;
  /**
   * The text of schema changes comes with them, as `DdlEvent.statement`, and DROP TABLE is an event. Two event triggers are installed for it, which takes a
   * superuser, once; `teardown` removes them. Default false.
   */
  readonly ddlText?: boolean;
  /** How often the catalog is compared (P4, P6) and new tables are looked for, from 100 ms. Default `10s`. */
  readonly watchInterval?: string | number;
}

/** The options, checked and with their defaults. */
export interface PostgresSettings extends ServerAddress {
  readonly slot: string;
  readonly publication: string;
  /** Null when none were given: then an existing publication decides. */
  readonly tables: readonly string[] | null;
  readonly isWanted: (schema: string, name: string) => boolean;
  /** Patterns; none when no table is to be taken again. */
  readonly resnapshot: readonly string[];
  readonly isResnapshot: (schema: string, name: string) => boolean;
  readonly snapshot: 'initial' | 'never';
  readonly maxWalBytes: number;
  readonly snapshotConnections: number;
  readonly ddlText: boolean;
  readonly watchIntervalMs: number;
  /** For `describe`. */
  readonly plain: PlainOptions;
}

/** Where a server is. */
export interface ServerAddress {
  readonly config: pg.ClientConfig;
  /** `host:port`, for messages. */
  readonly address: string;
  readonly database: string;
  readonly user: string;
}

/** Checks the options; nothing connects. @throws MR_INVALID_OPTION, MR_UNKNOWN_OPTION. */
export function postgresSettings(options: PostgresOptions): PostgresSettings {
  const { slot = 'millrace', publication = 'millrace', snapshot = 'initial' } = options;
  const { maxWal = '10GiB', snapshotConnections = 4, ddlText = false, watchInterval = '10s' } = options;
  for (const option of Object.keys(options)) {
    if (!KNOWN.includes(option)) throw new MillraceError('MR_UNKNOWN_OPTION', { option, owner: 'postgres', known: KNOWN.join(', ') });
  }
  const server = connectionOf(options.url);
  if (!/^[a-z0-9_]{1,63}$/.test(slot)) throw invalid('slot', slot, '1–63 characters of a–z, 0–9 and _');
  checkName('publication', publication);
  if (snapshot !== 'initial' && snapshot !== 'never') throw invalid('snapshot', snapshot, 'initial or never');
  if (!Number.isInteger(snapshotConnections) || snapshotConnections < 1 || snapshotConnections > 64) {
    throw invalid('snapshotConnections', snapshotConnections, 'an integer from 1 to 64');
  }
  if (typeof ddlText !== 'boolean') throw invalid('ddlText', String(ddlText), 'true or false');
  const chosen = tableMatcher(options.tables ?? ['*.*']);
  const namesOwn = options.tables?.some((pattern) => NAMES_OWN.test(pattern)) ?? false;
  const { resnapshot = [] } = options;
  return {
    ...server,
    slot,
    publication,
    tables: options.tables ?? null,
    isWanted: (schema, name) => !SYSTEM_SCHEMA.test(schema) && chosen(schema, name) && (namesOwn || !OWN_TABLES.includes(name)),
    resnapshot,
    isResnapshot: resnapshot.length === 0 ? () => false : tableMatcher(resnapshot, 'resnapshot'),
    snapshot,
    maxWalBytes: parseBytes(maxWal, 'maxWal', { min: 1 }),
    snapshotConnections,
    ddlText,
    watchIntervalMs: parseDurationMs(watchInterval, 'watchInterval', { min: 100 }),
    plain: { ...options, url: redactUrl(options.url), slot, publication, snapshot },
  };
}

const KNOWN = [
  'url',
  'slot',
  'publication',
  'tables',
  'snapshot',
  'resnapshot',
  'maxWal',
  'snapshotConnections',
  'ddlText',
  'watchInterval',
];
const SYSTEM_SCHEMA = /^(pg_.*|information_schema)$/;
/** A capture that took these would tell of what it tells. */
const OWN_TABLES: readonly string[] = [SYSTEM_EVENTS_TABLE, SLOW_OPERATIONS_TABLE];
const NAMES_OWN = /^\s*[^!\s].*\.\s*"?millrace_/;

/** What `pg` connects with, and the database's name. @throws MR_INVALID_OPTION, without the password. */
export function connectionOf(url: string, option = 'url'): ServerAddress {
  const form = 'postgres://user:password@host:port/database';
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw invalid(
      option,
      redactUrl(String(url)),
      `a URL such as ${form} (characters such as @ / # in the password are written as %40 %2F %23)`,
    );
  }
  if (parsed.protocol !== 'postgres:' && parsed.protocol !== 'postgresql:') throw invalid(option, redactUrl(url), `a URL such as ${form}`);
  const user = decodeName(parsed.username);
  const database = decodeName(parsed.pathname.slice(1)) || user;
  if (database === '') throw invalid(option, redactUrl(url), `a URL that names the database, such as ${form}`);
  const sslmode = parsed.searchParams.get('sslmode');
  if (sslmode !== null && !SSL_MODES.includes(sslmode)) throw invalid('sslmode', sslmode, `one of ${SSL_MODES.join(', ')}`);
  return { config: { connectionString: url }, address: `${parsed.hostname || 'localhost'}:${parsed.port || '5432'}`, database, user };
}

/** Those of libpq that `pg` knows, and its own `no-verify`. */
const SSL_MODES: readonly string[] = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'];

/** Checks the name of a slot or a publication that `teardown` or `postgres` is given. */
export function checkName(option: string, name: string): void {
  const bytes = Buffer.byteLength(name);
  if (bytes < 1 || bytes > 63 || name.includes('\0')) throw invalid(option, JSON.stringify(name), 'a name of 1–63 bytes');
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function invalid(option: string, value: string | number, bound: string): MillraceError {
  return new MillraceError('MR_INVALID_OPTION', { option, value, bound });
}
