import { describe, expect, it } from '@jest/globals';
import { deliveryOf, notationOf } from '../../lib/testing/index.ts';
import { filterTables } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

describe('filterTables', () => {
  it('passes on the changes of the tables that the patterns choose, and marks, which are of all', () => {
    eventMarbles(({ events, expectEvents }) => {
      const source = events('users@5-audit_log@5-[users@6,audit_log@6]-ddl:audit_log@7-res@7-|');
      const expected = '     users@5-------------users@6-------------------------------res@7-|';
      expectEvents(source.pipe(filterTables(['public.*', '!public.audit_*']))).toBe(expected);
    });
  });

  it.each([
    ['a schema', ['public.*'], 'users@5 audit_log@5'],
    ['a schema without some', ['public.*', '!public.audit_*'], 'users@5'],
    ['everything without a schema', ['*.*', '!public.*'], 'shop.users@5 Shop.users@5'],
    ['the last pattern that matches', ['public.*', '!public.audit_*', 'public.audit_log'], 'users@5 audit_log@5'],
    ['the case of the names', ['shop.*'], 'shop.users@5'],
    ['a star for nothing at all', ['shop.users*'], 'shop.users@5'],
    ['names in quotes', ['"shop"."users"'], 'shop.users@5'],
  ])('chooses by %s', (_, patterns, chosen) => {
    eventMarbles(({ events, expectEvents }) => {
      const source = events('[users@5,audit_log@5,shop.users@5,Shop.users@5]-|');
      const expected = '     x-----------------------------------------------|';
      expectEvents(source.pipe(filterTables(patterns))).toBe(expected, { x: chosen });
    });
  });

  it('drops schema changes and TRUNCATEs with their tables, and keeps marks and syncpoints, which are of all', () => {
    eventMarbles(({ events, expectEvents }) => {
      const source = events('[ddl:a@5,b@5,truncate:a@5,res@5]-sync@6-|');
      const expected = '     [b@5,res@5]----------------------sync@6-|';
      expectEvents(source.pipe(filterTables(['public.b']))).toBe(expected);
    });
  });

  it.each([[[]], [['!public.a']], [['users']], [['a.b.c']], [['"a.b']]])('refuses %j at once', (patterns) => {
    expect(() => filterTables(patterns)).toThrow(/MR_INVALID_OPTION/);
  });

  operatorLaws({ make: () => filterTables(['public.*']), items: () => [deliveryOf('a@5 shop.a@5')], show: notationOf });
});
