import { describe, expect, it } from '@jest/globals';
import { DDL_TEXT_BYTES_MAX, ddlMessagePrefix, parseDdlMessage } from '../../../../lib/sources/postgres/ddl-message.ts';
import { startReplicationSql } from '../../../../lib/sources/postgres/stream-fate.ts';

const parse = (content: unknown) => parseDdlMessage(Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)));
const table = (objid: unknown, type = 'table') => ({ classid: 1259, objid, objsubid: 0, type, schema: 'public', identity: 'public.t' });

describe('the message of a schema change', () => {
  it('names the tables that a statement changed, each once', () => {
    const objects = [table(7), table(7, 'table column'), table(8)];
    expect(parse({ event: 'ddl_command_end', tag: 'ALTER TABLE', query: 'ALTER …', objects })).toEqual({
      tag: 'ALTER TABLE',
      query: 'ALTER …',
      altered: [7, 8],
      dropped: [],
    });
  });

  it('names the tables that were dropped, and those that lost a column by it', () => {
    const objects = [table(7), table(4_294_967_295), table(9, 'table column')];
    expect(parse({ event: 'sql_drop', tag: 'DROP SCHEMA', query: null, objects })).toEqual({
      tag: 'DROP SCHEMA',
      query: null,
      altered: [9],
      dropped: [7, 4_294_967_295],
    });
  });

  it('has no text where the server left it out, it is empty, or it is longer than the server would have let it be', () => {
    const withQuery = (query?: string) => parse({ event: 'sql_drop', tag: 'DROP TABLE', query, objects: [] })?.query;
    expect([undefined, '', 'é'.repeat(DDL_TEXT_BYTES_MAX / 2 + 1)].map(withQuery)).toEqual([null, null, null]);
    expect(withQuery('é'.repeat(DDL_TEXT_BYTES_MAX / 2))).toHaveLength(DDL_TEXT_BYTES_MAX / 2);
  });

  it.each<[string, unknown]>([
    ['no JSON', '{"event":'],
    ['no bytes', ''],
    ['no object', 'null'],
    ['an array', []],
    ['another event', { event: 'login', tag: 'x', query: 'x', objects: [] }],
    ['no tag', { event: 'sql_drop', query: 'x', objects: [] }],
    ['a query that is no text', { event: 'sql_drop', tag: 'x', query: 1, objects: [] }],
    ['no objects', { event: 'sql_drop', tag: 'x', query: 'x' }],
    ['an object that is none', { event: 'sql_drop', tag: 'x', query: 'x', objects: [null] }],
    ['an oid that is text', { event: 'sql_drop', tag: 'x', query: 'x', objects: [table('7')] }],
    ['an oid that is none', { event: 'sql_drop', tag: 'x', query: 'x', objects: [table(0)] }],
    ['a broken oid', { event: 'sql_drop', tag: 'x', query: 'x', objects: [table(1.5)] }],
  ])('is not read where somebody else wrote it: %s', (_title, content) => {
    expect(parse(content)).toBeNull();
  });

  it('has a prefix for each slot', () => {
    expect(ddlMessagePrefix('orders')).toBe('millrace.ddl.orders');
  });

  it('is asked for only where it is wanted, because all other messages come with it', () => {
    const sql = (messagePrefix?: string | null) =>
      startReplicationSql({ slot: 's', publication: 'p', ...(messagePrefix !== undefined && { messagePrefix }) }, 1n);
    expect(sql('millrace.ddl.s')).toMatch(/\(proto_version '1', publication_names '"p"', messages 'true'\)$/);
    expect([sql(), sql(null)].join()).not.toContain('messages');
  });
});
