/**
 * What every session that reads values pins (P8): the text of a value depends on these, so the stream, COPY and `verify` must agree on them, whatever the
 * server, the database or the role has as its default. The timeouts and the message level are here because a role's own would break a long session
 * or hide the warning that a publication is gone (P4).
 */
export const SESSION_SETTINGS: Readonly<Record<string, string>> = Object.freeze({
  client_encoding: 'UTF8',
  TimeZone: 'UTC',
  DateStyle: 'ISO',
  IntervalStyle: 'postgres',
  extra_float_digits: '3',
  bytea_output: 'hex',
  lc_monetary: 'C',
  // Values of reg* types are written with their schema when it is not on the path.
  search_path: '',
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  idle_session_timeout: '0',
  default_transaction_read_only: 'off',
  client_min_messages: 'warning',
});

/** The statements that pin them, for one simple query. */
export function pinSessionSql(): string {
  const settings = Object.entries(SESSION_SETTINGS).map(([name, value]) => `SET ${name} = ${quoteLiteral(value)}`);
  // From 17 on there is one more, which would break a snapshot off.
  return `${settings.join('; ')}; SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'`;
}

/** A string constant of SQL and of the replication commands (both with standard_conforming_strings, so a backslash is itself). */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A quoted identifier of SQL and of the replication commands. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
