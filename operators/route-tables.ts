import { MillraceError } from '../lib/errors.ts';
import { defineTable, type Table, tableMatcher, tableName, tableOf, withTable } from '../lib/events/index.ts';
import type { Stage } from '../lib/flow/index.ts';
import { dataStage } from './per-event.ts';

export interface RouteRule {
  /** `schema.table`, by the source's names; patterns as for `filterTables`. */
  readonly match: string;
  /** The target schema; `{schema}` and `{table}` stand for the source's names. Default `{schema}`. */
  readonly schema?: string;
  /** The target table, likewise. Default `{table}`. */
  readonly table?: string;
}

/**
 * Gives tables other names at the target.
 *
 * In plain words: `routeTables([{ match: 'public.*', schema: 'shop', table: '{schema}_{table}' }])` lands `public.orders` as `shop.public_orders`.
 *
 * ![routeTables](../docs/operators/route-tables.svg)
 *
 * The first rule that matches decides; tables that none matches keep their names. Source names stay, so later stages go on selecting by them. Rows are not
 * touched. Two source tables may not land on one name: their versions and rows would mix.
 *
 * @example
 * ```ts
 * import { routeTables } from 'millrace/operators';
 *
 * const stages = [
 *   routeTables([
 *     { match: 'public.orders_archive', table: 'orders_old' },
 *     { match: 'public.*', schema: 'shop' },
 *   ]),
 * ];
 * ```
 *
 * @returns a stage. A rule of another form is MR_INVALID_OPTION, at once; two tables on one name are MR_ROUTE_CONFLICT, at the second's first event
 * (inside MR_STAGE_FAILED).
 */
export function routeTables(rules: readonly RouteRule[]): Stage {
  const parsed = rules.map(parseRule);
  return dataStage('routeTables', { rules: rules.map((rule) => ({ ...rule })) }, () => {
    const routed = new WeakMap<Table, Table>();
    const sourceOf = new Map<string, Table>();
    return (event) => {
      const table = tableOf(event);
      let target = routed.get(table);
      if (target === undefined) {
        target = route(table, parsed);
        claim(sourceOf, target);
        routed.set(table, target);
      }
      return withTable(event, target);
    };
  });
}

interface ParsedRule {
  readonly matches: (schema: string, name: string) => boolean;
  readonly schema: string;
  readonly table: string;
}

function parseRule({ match, schema = '{schema}', table = '{table}' }: RouteRule): ParsedRule {
  for (const [option, template] of Object.entries({ schema, table })) {
    const unknown = template.match(/\{[^}]*\}?/g)?.find((part) => part !== '{schema}' && part !== '{table}');
    if (template === '' || unknown !== undefined) {
      throw new MillraceError('MR_INVALID_OPTION', {
        option: `rules.${option}`,
        value: JSON.stringify(template),
        bound: 'a name in which {schema} and {table} are the only braces',
      });
    }
  }
  return { matches: tableMatcher([match]), schema, table };
}

function route(table: Table, rules: readonly ParsedRule[]): Table {
  const rule = rules.find(({ matches }) => matches(table.sourceSchema, table.sourceName));
  if (rule === undefined) return table;
  const fill = (template: string) =>
    template.replace(/\{schema\}|\{table\}/g, (part) => (part === '{schema}' ? table.sourceSchema : table.sourceName));
  return defineTable({ ...table, schema: fill(rule.schema), name: fill(rule.table) });
}

function claim(sourceOf: Map<string, Table>, target: Table): void {
  const name = JSON.stringify([target.schema, target.name]);
  const other = sourceOf.get(name);
  if (other !== undefined && (other.sourceSchema !== target.sourceSchema || other.sourceName !== target.sourceName)) {
    throw new MillraceError('MR_ROUTE_CONFLICT', {
      target: `${target.schema}.${target.name}`,
      tables: `${tableName(other)} and ${tableName(target)}`,
    });
  }
  sourceOf.set(name, target);
}
