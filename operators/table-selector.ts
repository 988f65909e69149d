import { type Table, tableMatcher } from '../lib/events/index.ts';

/** @internal Whether the patterns choose a table version, decided once per version. */
export function tableSelector(patterns: readonly string[]): (table: Table) => boolean {
  const matches = tableMatcher(patterns);
  const decided = new WeakMap<Table, boolean>();
  return (table) => {
    let isSelected = decided.get(table);
    if (isSelected === undefined) {
      isSelected = matches(table.sourceSchema, table.sourceName);
      decided.set(table, isSelected);
    }
    return isSelected;
  };
}
