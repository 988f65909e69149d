import { describe, expect, it } from '@jest/globals';
import type { ColumnSpec, EventInput } from '../../../pipelines/event-recorder/event.ts';
import { isRetryable } from '../../../pipelines/event-recorder/event.ts';
import { buildRows } from '../../../pipelines/event-recorder/rows.ts';
import { accepted, groupOf, HINTS, NOON_NS } from './events.ts';

function thrownBy(build: () => unknown): unknown {
  try {
    build();
  } catch (error) {
    return error;
  }
  throw new Error('it threw nothing');
}

/** spec event-recorder §C2 */
describe('buildRows', () => {
  it('C5.20: a row begins with type, payload and timestamp, of these types and in this order', () => {
    const { table, columns, rows } = buildRows(groupOf([{ type: 'a', payload: { n: 1 } }]));
    expect(table).toBe('events');
    expect(columns).toEqual([
      { name: 'type', type: 'string', semantic: 'tag', nullable: false },
      { name: 'payload', type: 'json', semantic: 'field', nullable: false },
      { name: 'timestamp', type: 'timestampNs', semantic: 'timestamp', nullable: false },
    ]);
    expect(rows.map(({ values }) => values)).toEqual([['a', '{"n":1}', NOON_NS + 1n]]);
  });

  it('C5.20: extra columns stand behind them, and an event of several rows repeats them', () => {
    const extraSchema: ColumnSpec[] = [
      { name: 'host', type: 'string', semantic: 'tag' },
      { name: 'cost', type: 'uint64', semantic: 'field' },
    ];
    const { columns, rows } = buildRows(
      groupOf([
        {
          type: 'a',
          payload: 1,
          extraSchema,
          extraRows: [
            ['x', 1],
            ['y', 2n],
          ],
        },
        { type: 'a', payload: 2, extraSchema, extraRows: [] },
        { type: 'a', payload: 3, extraSchema, extraRows: [['z', null]] },
      ]),
    );
    expect(columns.map(({ name }) => name)).toEqual(['type', 'payload', 'timestamp', 'host', 'cost']);
    expect(rows.map(({ event, row, values }) => [event.id, row, ...values])).toEqual([
      ['e0001', 0, 'a', '1', NOON_NS + 1n, 'x', 1n],
      ['e0001', 1, 'a', '1', NOON_NS + 1n, 'y', 2n],
      ['e0003', 0, 'a', '3', NOON_NS + 3n, 'z', null],
    ]);
  });

  it('C5.21: seven events of three types in three tables become 3, 2 and 2 rows of events, table_B and table_C', () => {
    const inputs: EventInput[] = ['A', 'B', 'A', 'C', 'B', 'A', 'C'].map((type) =>
      type === 'A' ? { type } : { type, table: `table_${type}` },
    );
    const events = inputs.map((input, index) => accepted(input, BigInt(index + 1)));
    const built = ['A', 'B', 'C'].map((type) => {
      const own = events.filter((event) => event.type === type);
      return buildRows({ type, table: own[0]!.table, events: own });
    });
    expect(built.map(({ table, rows }) => [table, rows.length])).toEqual([
      ['events', 3],
      ['table_B', 2],
      ['table_C', 2],
    ]);
  });

  it.each<[string, ColumnSpec[], ColumnSpec[]]>([
    ['count', [{ name: 'n', type: 'int64', semantic: 'field' }], []],
    [
      'order',
      [
        { name: 'n', type: 'int64', semantic: 'field' },
        { name: 'm', type: 'int64', semantic: 'field' },
      ],
      [
        { name: 'm', type: 'int64', semantic: 'field' },
        { name: 'n', type: 'int64', semantic: 'field' },
      ],
    ],
    ['type', [{ name: 'n', type: 'int64', semantic: 'field' }], [{ name: 'n', type: 'uint64', semantic: 'field' }]],
    ['purpose', [{ name: 'n', type: 'int64', semantic: 'field' }], [{ name: 'n', type: 'int64', semantic: 'tag', nullable: true }]],
    ['nullability', [{ name: 'n', type: 'int64', semantic: 'field' }], [{ name: 'n', type: 'int64', semantic: 'field', nullable: false }]],
  ])('C5.22: extra columns that differ in their %s are an error that names both, and that trying again cannot help', (_, one, other) => {
    const error = thrownBy(() => buildRows(groupOf([one, other].map((extraSchema) => ({ type: 'a', extraSchema, extraRows: [] })))));
    expect(error).toMatchObject({ code: 'MR_EVENT_SCHEMA_MISMATCH', details: { type: 'a', table: 'events' } });
    const describe = (columns: ColumnSpec[]) =>
      `[${columns.map((c) => `${c.name} ${c.type} ${c.semantic}${(c.nullable ?? c.semantic === 'field') ? ' null' : ''}`).join(', ')}]`;
    expect(String(error)).toContain(`${describe(one)}, and ${describe(other)}`);
    expect(isRetryable(error)).toBe(false);
  });

  it('schemas that are equal but not the same object are one', () => {
    const schema = (): ColumnSpec[] => [{ name: 'n', type: 'int64', semantic: 'field' }];
    expect(buildRows(groupOf([schema(), schema()].map((extraSchema) => ({ type: 'a', extraSchema, extraRows: [[1]] })))).rows).toHaveLength(
      2,
    );
  });

  it.each<[string, EventInput]>([
    ['types', { type: 'b' }],
    ['tables', { type: 'a', table: 'other' }],
  ])('C5.23: a group of mixed %s is an error, because all of it would go to the table of its first', (_, second) => {
    const error = thrownBy(() => buildRows(groupOf([{ type: 'a' }, second])));
    expect(error).toMatchObject({ code: 'MR_EVENT_GROUP_MIXED' });
    expect(isRetryable(error)).toBe(false);
  });

  it('C5.24: an empty group has no rows and is no error', () => {
    expect(buildRows({ table: 'events', type: 'a', events: [] })).toMatchObject({ table: 'events', rows: [] });
    expect(HINTS.appendMode).toBe(true);
  });
});
