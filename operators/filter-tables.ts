import { tableOf, tableSelector } from '../lib/events/index.ts';
import type { Stage } from '../lib/flow/index.ts';
import { DROP, perEvent } from './per-event.ts';

/**
 * Passes on the changes of the tables that the patterns choose.
 *
 * In plain words: `filterTables(['public.*', '!public.audit_*'])` is everything in `public` but the audit tables.
 *
 * ![filterTables](../docs/operators/filter-tables.svg)
 *
 * Patterns are `schema.table` on the source's names, case-sensitive, `*` for any characters, `!` to exclude, double quotes around names with dots; the last
 * one that matches decides. Schema changes and TRUNCATEs of other tables drop too; syncpoints and resolved marks are of all tables and pass.
 *
 * @example
 * ```ts
 * import { filterTables } from 'millrace/operators';
 *
 * const stages = [filterTables(['public.*', '!public.audit_*', 'public.audit_log'])]; // the last pattern that matches decides
 * ```
 *
 * @returns a stage. A pattern of another form is MR_INVALID_OPTION, at once.
 * @see tableMatcher for the patterns; filterRows for rows.
 */
export function filterTables(patterns: readonly string[]): Stage {
  const isChosen = tableSelector(patterns);
  return perEvent('filterTables', (event) => (isChosen(tableOf(event)) ? event : DROP), { patterns });
}
