import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { canalJsonReader } from '../../../lib/formats/canal-json-reader.ts';
import { chunksOf, gather } from '../../support/blocks.ts';

const decode = (text: string | Uint8Array, size?: number) =>
  gather(canalJsonReader().decode([], chunksOf(Buffer.from(text as string), size)));
const TIDB = ',"_tidb":{"commitTs":438347201540472834}';
const message = (type: string, data: string, old = 'null', tail = TIDB) =>
  `{"id":0,"type":"${type}","sqlType":{"a":4},"old":${old},"data":${data}${tail}}`;

describe('canalJsonReader', () => {
  it.each([
    ['an insert', message('INSERT', '[{"a":"1","b":null}]'), { op: 'I', old: null, data: { a: '1', b: null } }],
    ['an update with its old image', message('UPDATE', '[{"a":"2"}]', '[{"a":"1"}]'), { op: 'U', old: { a: '1' }, data: { a: '2' } }],
    ['an update without one', message('UPDATE', '[{"a":"2"}]', '[{}]'), { op: 'U', old: {}, data: { a: '2' } }],
    ['a delete, whose data is the old image', message('DELETE', '[{"a":"2"}]'), { op: 'D', old: { a: '2' }, data: null }],
  ])('reads %s with its exact commit-ts', async (_, text, change) => {
    expect(await decode(`${text}\r\n`)).toEqual([{ ...change, commitTs: 438347201540472834n }]);
  });

  it.each(['\r\n', '\n', '', ',', '\n\n\t'])('finds the rows whatever terminator stands between them: %j', async (terminator) => {
    const text = [message('INSERT', '[{"a":"}{\\"\\\\"}]'), message('DELETE', '[{"a":"]}"}]')].map((row) => row + terminator).join('');
    for (const size of [1, 2, 7, 1000]) {
      expect((await decode(text, size)).map(({ old, data }) => (old ?? data)?.['a'])).toEqual(['}{"\\', ']}']);
    }
  });

  it('reads a row without the extension as commit-ts 0', async () => {
    expect((await decode(message('INSERT', '[{"a":"1"}]', 'null', '')))[0]?.commitTs).toBe(0n);
  });

  it.each([
    ['text that looks like it', message('INSERT', '[{"a":"\\"_tidb\\":{\\"commitTs\\":438347201540472833}"}]')],
    ['another object that has one too', message('INSERT', '[{}]', 'null', `,"x":{"_tidb":{"commitTs":438347201540472833}}${TIDB}`)],
    ['a space behind the colon', message('INSERT', '[{}]', 'null', TIDB.replaceAll(':', ': '))],
    ['another member before it', message('INSERT', '[{}]', 'null', TIDB.replace('{', '{"onlyHandleKey":true,'))],
  ])('reads the exact commit-ts of a row with %s', async (_, text) => {
    expect((await decode(text))[0]?.commitTs).toBe(438347201540472834n);
  });

  it('keeps a column called __proto__', async () => {
    expect(Object.entries((await decode(message('INSERT', '[{"__proto__":"1"}]')))[0]?.data ?? {})).toEqual([['__proto__', '1']]);
  });

  it.each([
    ['a file that ends inside a row', message('INSERT', '[{"a":"1"}]').slice(0, -1), 'the file ends inside it'],
    ['an object that is no JSON', '{"a":}', 'it is no JSON'],
    ['an unknown type', message('QUERY', '[{}]'), 'its type is none of'],
    ['no data', message('INSERT', 'null'), 'it has no data'],
    ['data of two objects', message('INSERT', '[{},{}]'), 'no list of one object'],
    ['a value that is no text', message('INSERT', '[{"a":1}]'), 'neither text nor null'],
    ['a commit-ts that is no integer', message('INSERT', '[{}]', 'null', ',"_tidb":{"commitTs":1.5}'), 'its commitTs is no integer'],
  ])('refuses %s, naming the row', async (_, text, reason) => {
    const whole = message('INSERT', '[{}]');
    await expect(decode(`${whole}\r\n${text}`)).rejects.toThrow('MR_ROW_MALFORMED: canal-json row 1 is malformed');
    await expect(decode(`${whole}\r\n${text}`)).rejects.toThrow(reason);
  });

  it('gives rows or the typed error for any bytes', async () => {
    const row = Buffer.from(message('UPDATE', '[{"a":"1"}]', '[{"a":"0"}]'));
    const mutated = fc.tuple(fc.nat(row.length - 1), fc.integer({ min: 0, max: 255 })).map(([at, byte]) => {
      const bytes = Buffer.from(row);
      bytes[at] = byte;
      return bytes;
    });
    await fc.assert(
      fc.asyncProperty(fc.oneof(mutated, fc.uint8Array({ maxLength: 60 })), async (bytes) => {
        await decode(bytes, 5).catch((error: unknown) => expect(error).toMatchObject({ code: 'MR_ROW_MALFORMED' }));
      }),
      { numRuns: 300 },
    );
  });
});
