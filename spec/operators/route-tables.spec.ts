import { describe, expect, it } from '@jest/globals';
import { isDataEvent, tableOf } from '../../lib/events/index.ts';
import { deliveryOf, notationOf } from '../../lib/testing/index.ts';
import { filterTables, type RouteRule, routeTables } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';
import { throughStage } from '../support/rows.ts';

const targets = (rules: readonly RouteRule[], text: string) => {
  const { events, error } = throughStage(routeTables(rules), ...deliveryOf(text).events.filter(isDataEvent));
  if (error !== null) throw error;
  return events.map(tableOf).map(({ schema, name }) => `${schema}.${name}`);
};

describe('routeTables', () => {
  it('gives the tables that a rule matches other names at the target', () => {
    eventMarbles(({ events, expectEvents }) => {
      const source = events('shop.orders@5--------log@5-[ddl:shop.users@6,shop.users@6]----------------------|');
      const expected = '     shop.orders>lake.o@5-log@5-[ddl:shop.users>lake.users@6,shop.users>lake.users@6]|';
      const rules = [
        { match: 'shop.orders', schema: 'lake', table: 'o' },
        { match: 'shop.*', schema: 'lake' },
      ];
      expectEvents(source.pipe(routeTables(rules))).toBe(expected);
    });
  });

  it.each<[string, RouteRule[], string]>([
    ['a schema of its own', [{ match: 'shop.*', schema: 'lake' }], 'lake.orders'],
    ['a table of its own', [{ match: 'shop.orders', table: 'o' }], 'shop.o'],
    ['names made of the source names', [{ match: 'shop.*', schema: 'lake', table: '{schema}_{table}' }], 'lake.shop_orders'],
    [
      'the first rule that matches',
      [
        { match: 'shop.o*', table: 'first' },
        { match: 'shop.*', table: 'second' },
      ],
      'shop.first',
    ],
    ['its own names when no rule matches', [{ match: 'public.*', schema: 'lake' }], 'shop.orders'],
    ['its own names without rules', [], 'shop.orders'],
    ['a name with dollars, which stand for themselves', [{ match: 'shop.*', table: '$&{table}$1' }], 'shop.$&orders$1'],
  ])('gives a table %s', (_, rules, target) => {
    expect(targets(rules, 'shop.orders@5')).toEqual([target]);
  });

  it('routes schema changes and TRUNCATEs with the rows', () => {
    expect(targets([{ match: 'public.*', schema: 'lake' }], 'ddl:a@5 a@5 truncate:a@6')).toEqual(['lake.a', 'lake.a', 'lake.a']);
  });

  it('keeps one table version of each', () => {
    const { events } = throughStage(
      routeTables([{ match: 'public.*', schema: 'lake' }]),
      ...deliveryOf('a@5 a@6').events.filter(isDataEvent),
    );
    expect(tableOf(events[1]!)).toBe(tableOf(events[0]!));
  });

  it('keeps the source names, by which later stages select', () => {
    eventMarbles(({ events, expectEvents }) => {
      const source = events('[a@5,b@5]-|');
      const expected = '     a>lake.a@5|';
      expectEvents(source.pipe(routeTables([{ match: 'public.*', schema: 'lake' }]), filterTables(['public.a']))).toBe(expected);
    });
  });

  it.each([
    ['two that are routed', [{ match: 'public.*', schema: 'lake', table: 'all' }], 'a@5 b@5'],
    ['one that is routed and one that has the name already', [{ match: 'public.a', table: 'b' }], 'b@5 a@5'],
  ])('refuses two tables on one name, because their rows would mix: %s', (_, rules, text) => {
    expect(() => targets(rules, text)).toThrow(/MR_ROUTE_CONFLICT.*public\.\w and public\.\w/);
  });

  it('takes the versions of one table for what they are', () => {
    expect(targets([{ match: 'public.a', table: 'x' }], 'ddl:a@5v5 ddl:a@6v6')).toEqual(['public.x', 'public.x']);
  });

  it.each([
    { match: 'users' },
    { match: 'public.*', table: '' },
    { match: 'public.*', schema: '{db}' },
    { match: 'public.*', table: '{table' },
  ])('refuses %j at once', (rule) => {
    expect(() => routeTables([rule])).toThrow(/MR_INVALID_OPTION/);
  });

  operatorLaws({
    make: () => routeTables([{ match: 'public.*', schema: 'lake' }]),
    items: () => [deliveryOf('a@5.0..2')],
    show: notationOf,
  });
});
