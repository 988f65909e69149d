import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MillraceError } from '../../../lib/errors.ts';
import { acceptEvent } from '../../../pipelines/event-recorder/accept-event.ts';
import { COLUMN_TYPES, type ColumnSpec, type EventInput } from '../../../pipelines/event-recorder/event.ts';
import { linesOf } from '../../../pipelines/event-recorder/handlers/event-line.ts';
import { buildRows } from '../../../pipelines/event-recorder/rows.ts';
import { accepted, NOON_NS } from './events.ts';

const cycle: { self?: unknown } = {};
cycle.self = cycle;

function faultOf(input: unknown): string {
  try {
    acceptEvent(input as EventInput, { id: 'e', seq: 1n, timestampNs: NOON_NS });
  } catch (error) {
    expect(error).toBeInstanceOf(MillraceError);
    expect((error as MillraceError).code).toBe('MR_EVENT_INVALID');
    return String((error as MillraceError).details['reason']);
  }
  throw new Error('it was accepted');
}

/** spec event-recorder §C2, §C4 */
describe('acceptEvent', () => {
  it('C5.27: the default payload is JSON null, and what is stored is valid JSON', () => {
    expect(accepted({ type: 'a' })).toMatchObject({ type: 'a', table: 'events', payload: 'null', extraSchema: [], extraRows: [[]] });
    expect(accepted({ type: 'a', payload: { at: new Date(0), list: [1, undefined], gone: undefined } }).payload).toBe(
      '{"at":"1970-01-01T00:00:00.000Z","list":[1,null]}',
    );
  });

  it.each<[string, unknown, RegExp]>([
    ['a cycle', cycle, /its payload is no JSON value: .*circular/],
    ['a bigint', { n: 1n }, /its payload is no JSON value: .*BigInt/],
    ['a function', () => 1, /its payload is no JSON value but a function/],
    ['a symbol', Symbol('x'), /its payload is no JSON value but a symbol/],
  ])('C5.27: %s as payload is refused when it is recorded, because no handler could store it later', (_, payload, reason) => {
    expect(faultOf({ type: 'a', payload })).toMatch(reason);
  });

  it('a payload that throws when it is read is refused like any other, because record never throws (G3)', () => {
    const payload = {
      get secret(): string {
        throw new Error('not now');
      },
    };
    expect(faultOf({ type: 'a', payload })).toMatch(/not now/);
    const trap = {
      get type(): string {
        throw new Error('no type');
      },
    };
    expect(faultOf(trap)).toMatch(/reading it failed: no type/);
  });

  it('half a surrogate pair becomes U+FFFD, in text and in JSON, because no target stores it; an escaped backslash before it is left alone', () => {
    const schema: ColumnSpec[] = [{ name: 't', type: 'string', semantic: 'field' }];
    const event = accepted({ type: 'a', payload: ['x\ud800', '\\ud800', '😀'], extraSchema: schema, extraRows: [['\udfff']] });
    expect(JSON.parse(event.payload)).toEqual(['x\ufffd', '\\ud800', '😀']);
    expect(event.extraRows).toEqual([['\ufffd']]);
  });

  it('W4, C5.29: what the producer changes afterwards does not show: payload, schema, rows and bytes are copies, all frozen (G4)', () => {
    const bytes = Buffer.from([1, 2, 3]);
    const column = { name: 'b', type: 'binary' as const, semantic: 'field' as const };
    const payload = { state: 'before' };
    const schema: ColumnSpec[] = [column, { name: 'j', type: 'json', semantic: 'field' }];
    const rows: unknown[][] = [[bytes, payload]];
    const event = accepted({ type: 'a', payload, extraSchema: schema, extraRows: rows });
    payload.state = 'after';
    bytes[0] = 9;
    column.name = 'other';
    schema.push(column);
    rows.push([]);
    expect(event.payload).toBe('{"state":"before"}');
    expect(event.extraSchema.map(({ name }) => name)).toEqual(['b', 'j']);
    expect(event.extraRows).toHaveLength(1);
    expect(Buffer.from(event.extraRows[0]![0] as Uint8Array)).toEqual(Buffer.from([1, 2, 3]));
    expect(event.extraRows[0]![1]).toBe('{"state":"before"}');
    for (const part of [event, event.extraSchema, event.extraSchema[0], event.extraRows, event.extraRows[0]]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });

  it('a schema that its producer froze is looked at once, so that recording costs no more than its values', () => {
    const schema = Object.freeze([Object.freeze({ name: 'n', type: 'int64', semantic: 'field' } as const)]);
    const [one, two] = [
      accepted({ type: 'a', extraSchema: schema, extraRows: [] }),
      accepted({ type: 'a', extraSchema: schema, extraRows: [] }),
    ];
    expect(one.extraSchema).toBe(two.extraSchema);
  });

  it('C5.25: a row whose width is not that of the schema is refused', () => {
    const extraSchema: ColumnSpec[] = [{ name: 'n', type: 'int64', semantic: 'field' }];
    expect(faultOf({ type: 'a', extraSchema, extraRows: [[1, 2]] })).toBe('its row 0 has 2 values for 1 extra columns');
    expect(faultOf({ type: 'a', extraSchema, extraRows: [[1], []] })).toBe('its row 1 has 0 values for 1 extra columns');
    expect(faultOf({ type: 'a', extraSchema })).toBe('its row 0 has 0 values for 1 extra columns');
  });

  it.each(['type', 'payload', 'timestamp', 'event_id', 'event_row', 'event_seq', 'event_table', 'event_time_ns'])(
    'C5.26: an extra column called %s is refused, because the rows have such a column already',
    (name) => {
      expect(faultOf({ type: 'a', extraSchema: [{ name, type: 'string', semantic: 'field' }], extraRows: [['x']] })).toBe(
        `its extra column ${name} has a reserved name`,
      );
    },
  );

  it('C5.26: an extra column that is there twice is refused', () => {
    const column = { name: 'n', type: 'int64', semantic: 'field' };
    expect(faultOf({ type: 'a', extraSchema: [column, column], extraRows: [[1, 2]] })).toBe('its extra column n is there twice');
  });

  it.each<[string, unknown, RegExp]>([
    ['no object', null, /it is null, no object/],
    ['no type', {}, /its type is no name/],
    ['an empty type', { type: '' }, /its type is no name of 1 to 63 bytes/],
    ['a type that is too long', { type: 'ä'.repeat(32) }, /its type is no name of 1 to 63 bytes/],
    ['a table with a NUL', { type: 'a', table: 'x\0' }, /its table is no name/],
    ['a time that is a number', { type: 'a', timestampNs: 5 }, /timestampNs is no bigint of 64 bits/],
    ['a time beyond 64 bits', { type: 'a', timestampNs: 2n ** 63n }, /timestampNs is no bigint of 64 bits/],
    ['a schema that is no list', { type: 'a', extraSchema: {} }, /extraSchema is no list/],
    ['rows that are no list', { type: 'a', extraRows: 5 }, /extraRows are no list/],
    ['a row that was never set', { type: 'a', extraRows: new Array(1) }, /row 0 is no list/],
    ['a column that was never set', { type: 'a', extraSchema: new Array(1) }, /extra column 0 is no object/],
    ['a row that is no list', { type: 'a', extraRows: [5] }, /row 0 is no list/],
    [
      'an unknown column type',
      { type: 'a', extraSchema: [{ name: 'n', type: 'int', semantic: 'field' }] },
      /the type of its extra column n is "int", none of string, json/,
    ],
    [
      'a second time index',
      { type: 'a', extraSchema: [{ name: 'n', type: 'int64', semantic: 'timestamp' }] },
      /the semantic of its extra column n is "timestamp", neither tag nor field/,
    ],
    [
      'a semantic that lacks',
      { type: 'a', extraSchema: [{ name: 'n', type: 'int64' }] },
      /the semantic of its extra column n is nothing, neither/,
    ],
    [
      'a semantic that may be a value',
      { type: 'a', extraSchema: [{ name: 'n', type: 'int64', semantic: 'postgres://app:hunter2@db' }] },
      /the semantic of its extra column n is a string, neither/,
    ],
    ['too many rows', { type: 'a', extraRows: Array.from({ length: 1001 }, () => []) }, /1001 rows, more than 1000/],
  ])('W12: %s is refused', (_, input, reason) => {
    expect(faultOf(input)).toMatch(reason);
  });

  it.each<[ColumnSpec['type'], unknown, unknown]>([
    ['string', 'x', 'x'],
    ['json', { a: [1] }, '{"a":[1]}'],
    ['int64', -5, -5n],
    ['int64', 2n ** 63n - 1n, 2n ** 63n - 1n],
    ['uint64', 2n ** 64n - 1n, 2n ** 64n - 1n],
    ['float64', 1.5, 1.5],
    ['boolean', true, true],
    ['timestampMs', 1_700_000_000_000, 1_700_000_000_000n],
    ['timestampNs', NOON_NS, NOON_NS],
    ['string', null, null],
    ['json', undefined, null],
  ])('a %s field takes %p', (type, value, stored) => {
    expect(accepted({ type: 'a', extraSchema: [{ name: 'v', type, semantic: 'field' }], extraRows: [[value]] }).extraRows).toEqual([
      [stored],
    ]);
  });

  it.each<[ColumnSpec['type'], unknown, RegExp]>([
    ['string', 5, /takes a string, and was given a number/],
    ['json', 5n, /is no JSON value/],
    ['int64', 1.5, /takes a bigint or a safe integer, and was given a number/],
    ['int64', 2n ** 63n, /is outside -9223372036854775808 to 9223372036854775807/],
    ['uint64', -1, /is outside 0 to/],
    ['float64', '1', /takes a number, and was given a string/],
    ['boolean', 1, /takes a boolean/],
    ['timestampMs', 10n ** 15n, /is outside/],
    ['timestampNs', 'now', /takes nanoseconds since 1970/],
    ['binary', 'AA==', /takes bytes/],
    ['binary', new Uint16Array(2), /takes bytes/],
  ])('W12: a %s column refuses %p, and does not repeat the value', (type, value, reason) => {
    expect(faultOf({ type: 'a', extraSchema: [{ name: 'v', type, semantic: 'field' }], extraRows: [[value]] })).toMatch(reason);
  });

  it('W12: null is for nullable columns: fields unless they say otherwise, tags only if they do; without it null in a JSON column is a JSON value', () => {
    const one = (column: Omit<ColumnSpec, 'name'>) => ({ type: 'a', extraSchema: [{ name: 'v', ...column }], extraRows: [[null]] });
    expect(accepted(one({ type: 'string', semantic: 'field' })).extraRows).toEqual([[null]]);
    expect(accepted(one({ type: 'string', semantic: 'tag', nullable: true })).extraRows).toEqual([[null]]);
    expect(accepted(one({ type: 'json', semantic: 'field', nullable: false })).extraRows).toEqual([['null']]);
    expect(faultOf(one({ type: 'string', semantic: 'tag' }))).toBe('its extra column v may not be null');
    expect(faultOf(one({ type: 'string', semantic: 'field', nullable: false }))).toBe('its extra column v may not be null');
  });

  it('C5.28, W3: an event without a time gets that of its recording, to the nanosecond; its own is kept as it is', () => {
    expect(accepted({ type: 'a' }).timestampNs).toBe(NOON_NS + 1n);
    expect(accepted({ type: 'a', timestampNs: -1n }).timestampNs).toBe(-1n);
  });

  it('G3, W12: whatever is given is accepted or refused, never thrown otherwise; what is accepted becomes a line of JSON', () => {
    const columns = fc.array(
      fc.record(
        { name: fc.string(), type: fc.constantFrom(...COLUMN_TYPES, 'int'), semantic: fc.constantFrom('tag', 'field', 'timestamp') },
        { requiredKeys: ['name', 'type', 'semantic'] },
      ),
      { maxLength: 3 },
    );
    const value = fc.anything({ withBigInt: true, withDate: true, withTypedArray: true, withSparseArray: true });
    const given = fc.oneof(
      value,
      fc.record({ type: fc.oneof(fc.string(), fc.constant('a')), payload: value, table: fc.string() }, { requiredKeys: ['type'] }),
      fc.record({ type: fc.constant('a'), extraSchema: columns, extraRows: fc.array(fc.array(value, { maxLength: 3 }), { maxLength: 3 }) }),
    );
    let acceptedOnes = 0;
    fc.assert(
      fc.property(given, (input) => {
        try {
          const event = acceptEvent(input as EventInput, { id: 'e', seq: 1n, timestampNs: NOON_NS });
          acceptedOnes++;
          for (const line of linesOf(buildRows({ table: event.table, type: event.type, events: [event] }))) {
            expect(JSON.parse(line)).toMatchObject({ event_id: 'e', event_seq: 1 });
          }
        } catch (error) {
          expect(error).toMatchObject({ code: 'MR_EVENT_INVALID' });
        }
      }),
      { numRuns: 2000 },
    );
    expect(acceptedOnes).toBeGreaterThan(100);
  });

  it('C5.41: what an event counts grows with everything that it keeps', () => {
    const small = accepted({ type: 'a' }).bytes;
    expect(accepted({ type: 'a', payload: 'x'.repeat(1000) }).bytes).toBe(small + 1000 - 2);
    expect(accepted({ type: 'a', payload: '😀'.repeat(500) }).bytes).toBe(small + 2000);
    const extraSchema: ColumnSpec[] = [{ name: 'b', type: 'binary', semantic: 'field' }];
    expect(accepted({ type: 'a', extraSchema, extraRows: [[Buffer.alloc(5000)]] }).bytes).toBeGreaterThan(small + 5000);
    // The columns too, unless all events share them.
    const wide = Array.from({ length: 200 }, (_, index): ColumnSpec => ({ name: `c${index}`, type: 'int64', semantic: 'field' }));
    const extraRows = [wide.map(() => null)];
    const alone = accepted({ type: 'a', extraSchema: wide, extraRows }).bytes;
    const shared = Object.freeze(wide.map((column) => Object.freeze(column)));
    expect(alone - accepted({ type: 'a', extraSchema: shared, extraRows }).bytes).toBeGreaterThan(200 * 100);
  });
});
