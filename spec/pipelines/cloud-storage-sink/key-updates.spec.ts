import { describe, expect, it } from '@jest/globals';
import { dmlEvent, RowBlockWriter } from '../../../lib/events/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { rebuildTable } from '../../../pipelines/index.ts';
import { runSink, table } from '../../support/sink-world.ts';

const COLUMNS = ['id', 'name'];
const CLUSTERED = table('t', 1n, COLUMNS, ['id']);
const FULL = table('t', 1n, COLUMNS, ['id'], { replicaIdentity: 'full' });
const KEYLESS = table('t', 1n, COLUMNS);
const NAME = { schema: 'public', table: 't' };

/** Two rows; then keys that swap places inside one transaction, which only holds in the order of the changes, and an update that keeps the key. */
async function write(of: typeof FULL, options: object): Promise<{ store: MemoryStore; lines: string[]; error: unknown }> {
  const store = new MemoryStore();
  const isFull = of.replicaIdentity === 'full';
  const old = (id: string, name: string) => (isFull ? { id, name } : { id });
  const block = () =>
    new RowBlockWriter(of)
      .beginTransaction(10n)
      .insert({ id: '1', name: 'a' })
      .insert({ id: '2', name: 'b' })
      .beginTransaction(20n)
      .update(old('1', 'a'), { id: '3', name: 'a' })
      .update(old('2', 'b'), { id: '1', name: 'b' })
      .update(old('3', 'a'), { id: '2', name: 'a' })
      .update(isFull ? { id: '2', name: 'a' } : null, { id: '2', name: 'A' })
      .build();
  const history = [{ commitTs: 20n, events: () => [dmlEvent(block())] }];
  const { error } = await runSink(store, history, { dateSeparator: 'none', terminator: '\n', ...options });
  const lines: string[] = [];
  for await (const { key } of store.list('public/t/1/CDC'))
    lines.push(
      ...String(await store.get(key))
        .trimEnd()
        .split('\n'),
    );
  return { store, lines, error };
}

/** Operation, key, and in canal-json the old key. */
function told(line: string): string {
  if (!line.startsWith('{')) {
    const [op, , , , ...fields] = line.replaceAll('"', '').split(',');
    return `${op}${fields.at(-2)}`;
  }
  const { type, old, data } = JSON.parse(line) as { type: string; old: [{ id?: string }] | null; data: [{ id: string }] };
  return `${type[0]}${data[0].id}${old?.[0].id === undefined ? '' : `<${old[0].id}`}`;
}

const SPLIT = ['I1', 'I2', 'D1', 'I3', 'D2', 'I1', 'D3', 'I2'];

/** spec storage-sink §6.3: output-raw-change-event × output-old-value */
describe('updates of a key (tiflow #9086, #10167, #11211)', () => {
  it.each([
    ['canal-json', 'split, in place', FULL, { protocol: 'canal-json' }, [...SPLIT, 'U2<2']],
    ['canal-json', 'raw', FULL, { protocol: 'canal-json', outputRawChangeEvent: true }, ['I1', 'I2', 'U3<1', 'U1<2', 'U2<3', 'U2<2']],
    ['canal-json', 'split, with key-only old images', CLUSTERED, { protocol: 'canal-json' }, [...SPLIT, 'U2']],
    [
      'canal-json',
      'raw, with key-only old images',
      CLUSTERED,
      { protocol: 'canal-json', outputRawChangeEvent: true },
      ['I1', 'I2', 'U3<1', 'U1<2', 'U2<3', 'U2'],
    ],
    [
      'canal-json',
      'of a table without a key: its old image says which',
      KEYLESS,
      { protocol: 'canal-json' },
      ['I1', 'I2', 'U3<1', 'U1<2', 'U2<3', 'U2<2'],
    ],
    ['csv', 'split, in place', FULL, { protocol: 'csv' }, [...SPLIT, 'U2']],
    ['csv', 'split, with key-only old images', CLUSTERED, { protocol: 'csv' }, [...SPLIT, 'U2']],
    ['csv', 'split, with old values', FULL, { protocol: 'csv', csv: { outputOldValue: true } }, [...SPLIT, 'D2', 'I2']],
    [
      'csv',
      'raw, with old values',
      FULL,
      { protocol: 'csv', outputRawChangeEvent: true, csv: { outputOldValue: true } },
      [...SPLIT, 'D2', 'I2'],
    ],
    ['csv', 'of a table without a key: split, for there is no old image', KEYLESS, { protocol: 'csv' }, [...SPLIT, 'D2', 'I2']],
  ])('%s, %s', async (_, __, of, options, expected) => {
    const { store, lines, error } = await write(of, options);
    expect(error).toBeNull();
    expect(lines.map(told)).toEqual(expected);
    const rebuilt = await rebuildTable(store, NAME);
    expect([...rebuilt.rows()].sort()).toEqual([
      ['1', 'b'],
      ['2', 'A'],
    ]);
  });

  it('§6.3: raw csv without old values is refused: it names the new key only, and the old row would stay', () => {
    return expect(write(FULL, { protocol: 'csv', outputRawChangeEvent: true })).resolves.toMatchObject({
      error: { code: 'MR_INVALID_OPTION', details: { option: 'output-raw-change-event' } },
    });
  });
});
