import { describe, expect, it } from '@jest/globals';
import { filterTables } from '../../operators/index.ts';
import { marbles } from '../support/marbles.ts';
import { deliveryOf, show } from '../support/notation.ts';
import { operatorLaws } from '../support/operator-laws.ts';

describe('filterTables', () => {
  it.each([
    ['a schema', ['public.*'], 'public.users public.audit_log'],
    ['a schema without some', ['public.*', '!public.audit_*'], 'public.users'],
    ['everything without a schema', ['*.*', '!public.*'], 'shop.users Shop.users'],
    ['the last pattern that matches', ['public.*', '!public.audit_*', 'public.audit_log'], 'public.users public.audit_log'],
    ['the case of the names', ['shop.*'], 'shop.users'],
    ['a star for nothing at all', ['shop.users*'], 'shop.users'],
    ['names in quotes', ['"shop"."users"'], 'shop.users'],
  ])('chooses by %s', (_, patterns, chosen) => {
    marbles(({ deliveries, expectDeliveries }) => {
      const tables = ['public.users', 'public.audit_log', 'shop.users', 'Shop.users'];
      const source = deliveries('x|', { x: tables.map((table) => `${table}@5`).join(' ') });
      const expected = '         x|';
      expectDeliveries(source.pipe(filterTables(patterns))).toBe(expected, { x: chosen.replace(/(?= |$)/g, '@5') });
    });
  });

  it('drops schema changes and TRUNCATEs with their tables, and keeps marks and syncpoints, which are of all', () => {
    marbles(({ deliveries, expectDeliveries }) => {
      const source = deliveries('x-y-|', { x: 'ddl:a@5 b@5 truncate:a@5 res@5', y: 'sync@6' });
      const expected = '         x-y-|';
      expectDeliveries(source.pipe(filterTables(['public.b']))).toBe(expected, { x: 'b@5 res@5', y: 'sync@6' });
    });
  });

  it.each([[[]], [['!public.a']], [['users']], [['a.b.c']], [['"a.b']]])('refuses %j at once', (patterns) => {
    expect(() => filterTables(patterns)).toThrow(/MR_INVALID_OPTION/);
  });

  operatorLaws({ make: () => filterTables(['public.*']), items: () => [deliveryOf('a@5 shop.a@5')], show });
});
