import { describe, expect, it } from '@jest/globals';
import { UsualRows } from '../../../lib/formats/canal-usual-rows.ts';

const rowOf = (type: string, value: string) =>
  `{"id":0,"type":"${type}","es":1,"ts":2,"sql":"","old":null,"data":[{"a":"${value}"}],"_tidb":{"commitTs":3}}`;

function learn(rows: UsualRows, type: string, value: string): void {
  const text = rowOf(type, value);
  const bytes = Buffer.from(text);
  rows.begin(bytes, bytes.length);
  rows.learn(type, text, 0, bytes.length);
}

function read(rows: UsualRows, text: string) {
  const bytes = Buffer.from(text);
  rows.begin(bytes, bytes.length);
  return rows.read(0);
}

describe('UsualRows', () => {
  it('still learns a kind that comes late, when chunks have cut many rows of one that it knows', () => {
    const rows = new UsualRows();
    for (let i = 0; i < 100; i++) learn(rows, 'INSERT', String(i));
    expect(read(rows, rowOf('DELETE', 'x'))).toBeNull();
    learn(rows, 'DELETE', 'x');
    expect(read(rows, rowOf('DELETE', 'y'))).toEqual({ op: 'D', commitTs: 3n, old: { a: 'y' }, data: null });
    expect(read(rows, rowOf('INSERT', 'z'))).toEqual({ op: 'I', commitTs: 3n, old: null, data: { a: 'z' } });
  });

  it('reads a row again, or one before it, as it stands there', () => {
    const rows = new UsualRows();
    learn(rows, 'INSERT', '0');
    const [first, second] = [rowOf('INSERT', 'first'), rowOf('INSERT', 'second')];
    const bytes = Buffer.from(first + second);
    rows.begin(bytes, bytes.length);
    for (const _ of [1, 2]) {
      expect(rows.read(first.length)?.data).toEqual({ a: 'second' });
      expect(rows.read(0)?.data).toEqual({ a: 'first' });
    }
  });

  it('learns no more than a few kinds: where each row is of its own, the search costs more than it saves', () => {
    const rows = new UsualRows();
    for (let i = 0; i < 10; i++) learn(rows, 'INSERT', `x"}],"y":[{"z":"${i}`);
    learn(rows, 'DELETE', 'x');
    expect(read(rows, rowOf('DELETE', 'y'))).toBeNull();
  });
});
