import { describe, expect, it } from '@jest/globals';
import { columnIndex, defineTable, tableName } from '../../../lib/events/index.ts';
import { textTable } from './rows.ts';

describe('a table version', () => {
  it('is frozen with its columns, because blocks share it', () => {
    const table = defineTable(textTable(['id']));
    expect([table, table.columns, table.columns[0]].every(Object.isFrozen)).toBe(true);
  });

  it('is all that it was made of, and says that it is a partition only where it was said', () => {
    const table = textTable(['id', 'name']);
    expect(defineTable(table)).toStrictEqual(table);
    expect(defineTable({ ...table, isPartition: true })).toStrictEqual({ ...table, isPartition: true });
  });

  it('finds columns by their exact names', () => {
    const table = textTable(['id', 'Name', '__proto__', '']);
    expect(['id', 'Name', '__proto__', '', 'name', 'toString'].map((name) => columnIndex(table, name))).toEqual([0, 1, 2, 3, -1, -1]);
  });

  it('is called by the names of its source, wherever it is routed to', () => {
    expect(tableName(textTable(['id'], ['id'], { schema: 'lake', name: 'people' }))).toBe('public.users');
  });
});
