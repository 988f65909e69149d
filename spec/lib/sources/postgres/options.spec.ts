import { describe, expect, it } from '@jest/globals';
import { postgres } from '../../../../lib/sources/postgres/index.ts';
import { connectionOf, type PostgresOptions, postgresSettings } from '../../../../lib/sources/postgres/options.ts';

const URL_TEXT = 'postgres://me:s3cret@db.example:6000/shop?sslmode=require';

describe('postgres options', () => {
  it('are checked at once, and shown without the password', () => {
    const source = postgres({ url: URL_TEXT, slot: 'orders' });
    expect(source.name).toBe('postgres');
    expect(source.options).toMatchObject({ slot: 'orders', publication: 'millrace', snapshot: 'initial' });
    expect(JSON.stringify(source.options)).not.toContain('s3cret');
    expect(JSON.stringify(source.options)).toContain('me:***@db.example:6000/shop');
  });

  it.each<[string, Partial<PostgresOptions>, RegExp]>([
    ['no URL', { url: 'db.example' }, /option url is db.example; it must be a URL such as/],
    ['a URL that does not parse', { url: 'postgres://me:p4ss@host:notaport/db' }, /option url/],
    ['another scheme', { url: 'mysql://me@host/db' }, /option url is mysql:/],
    ['no database', { url: 'postgres://host' }, /a URL that names the database/],
    ['a slot with capitals', { slot: 'Orders' }, /option slot is Orders; it must be 1–63 characters/],
    ['a long slot', { slot: 'a'.repeat(64) }, /option slot/],
    ['an empty publication', { publication: '' }, /option publication is ""/],
    ['another snapshot mode', { snapshot: 'always' as 'never' }, /option snapshot is always; it must be initial or never/],
    ['a pattern without a schema', { tables: ['orders'] }, /option tables is "orders"/],
    ['a pattern of no table', { resnapshot: ['x'] }, /option resnapshot is "x"/],
    ['a size', { maxWal: 'much' }, /option maxWal is "much"/],
    ['too many connections', { snapshotConnections: 65 }, /option snapshotConnections is 65; it must be an integer from 1 to 64/],
    [
      'texts of schema changes otherwise than on or off',
      { ddlText: 'on' as unknown as boolean },
      /option ddlText is on; it must be true or false/,
    ],
    ['an interval below the bound', { watchInterval: '1ms' }, /option watchInterval is "1ms"/],
  ])('%s is refused with the option, the value and the bound', (_title, options, message) => {
    expect(() => postgres({ url: URL_TEXT, ...options })).toThrow(message);
  });

  it('an unknown one is refused', () => {
    expect(() => postgres({ url: URL_TEXT, tabels: [] } as unknown as PostgresOptions)).toThrow(
      /^MR_UNKNOWN_OPTION: unknown option tabels of postgres/,
    );
  });

  it.each<[string, string[] | undefined, boolean]>([
    ['no patterns', undefined, false],
    ['every table', ['*.*'], false],
    ['its schema', ['public.*'], false],
    ['tables that are none of them', ['public.*', '!public.millrace_*', 'millrace_app.*'], false],
    ['their names', ['public.*', ' public.millrace_*'], true],
    ['their names in quotes', ['public."millrace_events"', 'public."millrace_slow_operations"'], true],
  ])('with %s, tables of what runs tell of themselves are captured only by their names', (_, tables, expected) => {
    const { isWanted } = postgresSettings({ url: URL_TEXT, ...(tables === undefined ? {} : { tables }) });
    const names = ['millrace_events', 'millrace_slow_operations'];
    expect(names.map((name) => isWanted('public', name))).toEqual([expected, expected]);
    expect(names.map((name) => isWanted('millrace_app', name))).toEqual([false, false]);
  });

  it('never capture system schemas', () => {
    const { isWanted } = postgresSettings({ url: URL_TEXT });
    expect(['public', 'Odd One', 'pg_catalog', 'pg_toast', 'information_schema'].map((schema) => isWanted(schema, 't'))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });

  it('name the server without its password', () => {
    expect(connectionOf('postgres://me@h/my%20db')).toMatchObject({ address: 'h:5432', database: 'my db', user: 'me' });
  });
});
