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

  describe('rows that begin as others did', () => {
    const whole = (type: string, es: string, rest: string, mysqlType = '"a":"int"') =>
      `{"id":0,"database":"d","isDdl":false,"type":"${type}","es":${es},"ts":17,"sql":"","mysqlType":{${mysqlType}},"old":${rest}`;
    const known = ['INSERT', 'UPDATE', 'DELETE'].map((type) => whole(type, '16', `null,"data":[{"a":"0"}]${TIDB}}`));
    const behindOthers = async (text: string) => (await decode([...known, text].join('\r\n'))).at(-1);

    it.each([
      ['another time', whole('UPDATE', '1668668168117', `[{"a":"1"}],"data":[{"a":"2"}]${TIDB}}`)],
      ['a time of 0', whole('DELETE', '0', `null,"data":[{"a":"2"}]${TIDB}}`)],
      ['a time that is no whole number', whole('INSERT', '1.5e3', `null,"data":[{"a":"2"}]${TIDB}}`)],
      ['a negative time', whole('INSERT', '-16', `null,"data":[{"a":"2"}]${TIDB}}`)],
      ['a second type behind them', whole('INSERT', '16', `null,"type":"DELETE","data":[{"a":"2"}]${TIDB}}`)],
      ['other columns', whole('INSERT', '16', `null,"data":[{"b":"2"}]${TIDB}}`, '"b":"int"')],
      [
        'a column that looks like what comes then',
        whole('INSERT', '16', `null,"data":[{"a":"2"}]${TIDB}}`, '"\\",\\"old\\":":"int","x,":"old"'),
      ],
      ['an inner member of the name', whole('INSERT', '16', `null,"data":[{"a":"2"}]${TIDB}}`, '"a":{"x":1,"old":2}')],
    ])('are read as each alone: %s', async (_, text) => {
      expect(await behindOthers(text)).toEqual((await decode(text))[0]);
    });

    it.each([
      ['a number that JSON does not know', whole('INSERT', '016', `null,"data":[{"a":"2"}]${TIDB}}`)],
      ['no number', whole('INSERT', '', `null,"data":[{"a":"2"}]${TIDB}}`)],
      ['something else behind it', whole('INSERT', '16', `nothing,"data":[{"a":"2"}]${TIDB}}`)],
    ])('are refused as each alone: %s', async (_, text) => {
      await expect(behindOthers(text)).rejects.toThrow('canal-json row 3 is malformed: it is no JSON');
      await expect(decode(text)).rejects.toThrow('canal-json row 0 is malformed: it is no JSON');
    });

    it('are read as each alone, wherever a chunk ends', async () => {
      const rows = [...known, whole('UPDATE', '1668668168117', `[{"a":"{,\\"old\\":"}],"data":[{"a":"é"}]${TIDB}}`), ...known];
      const bytes = Buffer.from(rows.join('\r\n'));
      const alone = (await Promise.all(rows.map((row) => decode(row)))).flat();
      for (let size = 1; size < bytes.length; size += size < 500 ? 1 : 37) expect(await decode(bytes, size)).toEqual(alone);
    });

    it.each([
      ['escapes', '[{"a":"\\"\\\\ \\u00e9 \\ud83d\\ude00\\n"}]'],
      ['text that is not ASCII', '[{"a":"é 😀 \ufeff"}]'],
      ['a text of more than a few characters', '[{"a":"as long as none is that is cut out of another"}]'],
      ['an empty text and a null', '[{"a":"","b":null}]'],
      ['other columns than before', '[{"c":"1","a":"2","\\u0062\\"":"3","é":"4"}]'],
      ['a column twice', '[{"a":"1","a":"2"}]'],
      ['a column called __proto__', '[{"__proto__":"1"}]'],
      ['columns called by numbers', '[{"2":"1","1":"2"}]'],
      ['no columns', '[{}]'],
      ['more columns than most have', `[{${Array.from({ length: 40 }, (_, i) => `"c${i}":"${i}"`).join()}}]`],
      ['a space', '[{"a": "1"}]'],
    ])('are read as each alone with %s', async (_, data) => {
      const rows = ['INSERT', 'UPDATE', 'DELETE'].map((type) =>
        whole(type, '16', `${type === 'UPDATE' ? data : null},"data":${data}${TIDB}}`),
      );
      const alone = (await Promise.all(rows.map((row) => decode(row)))).flat();
      const all = await decode([...known, ...rows, ...rows].join('\r\n'));
      expect(all.slice(known.length)).toEqual([...alone, ...alone]);
      expect(all.map(({ old, data }) => JSON.stringify([old, data]))).toEqual(
        (await Promise.all([...known, ...rows, ...rows].map((row) => decode(row)))).map(([row]) => JSON.stringify([row?.old, row?.data])),
      );
    });

    it.each([
      ['a value that is a number', '[{"a":1}]', 'neither text nor null'],
      ['a value that is an object', '[{"a":{}}]', 'neither text nor null'],
      ['two objects', '[{"a":"1"},{"a":"2"}]', 'no list of one object'],
      ['a line feed in a text', '[{"a":"\n"}]', 'it is no JSON'],
      ['an escape that JSON does not know', '[{"a":"\\x"}]', 'it is no JSON'],
      ['a comma behind the last column', '[{"a":"1",}]', 'it is no JSON'],
      ['a column that is not text', '[{a:"1"}]', 'it is no JSON'],
      ['a null that is none', '[{"a":nul}]', 'it is no JSON'],
    ])('are refused as each alone with %s', async (_, data, reason) => {
      for (const more of ['', `,${Array.from({ length: 40 }, (_, i) => `"c${i}":"${i}"`).join()}`]) {
        const before = whole('INSERT', '16', `null,"data":[{"a":"0"${more}}]${TIDB}}`);
        const text = whole('INSERT', '16', `null,"data":${data}${TIDB}}`);
        await expect(decode([before, before, text].join('\r\n'))).rejects.toThrow('canal-json row 2 is malformed');
        await expect(decode([before, before, text].join('\r\n'))).rejects.toThrow(reason);
      }
    });

    it.each([
      ['none', '}', 0n],
      ['0', ',"_tidb":{"commitTs":0}}', 0n],
      ['one of 15 digits', ',"_tidb":{"commitTs":999999999999999}}', 999999999999999n],
      ['one of 16 digits', ',"_tidb":{"commitTs":9007199254740993}}', 9007199254740993n],
      ['the greatest', ',"_tidb":{"commitTs":18446744073709551615}}', 18446744073709551615n],
    ])('have each its exact commit-ts: %s', async (_, tail, commitTs) => {
      expect((await behindOthers(whole('INSERT', '16', `null,"data":[{"a":"2"}]${tail}`)))?.commitTs).toBe(commitTs);
    });

    it('are read as each alone, whatever they hold', async () => {
      const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 30 }), fc.string({ maxLength: 30 }));
      const image = fc.dictionary(fc.oneof(fc.constantFrom('a', 'b', 'c', 'column with a long name'), text), fc.option(text), {
        maxKeys: 6,
      });
      const rowOf = fc
        .tuple(fc.constantFrom('INSERT', 'UPDATE', 'DELETE'), fc.nat(), image, image, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }))
        .map(([type, es, old, data, commitTs]) => {
          const before = type === 'UPDATE' ? JSON.stringify([old]) : 'null';
          return Buffer.from(whole(type, String(es), `${before},"data":${JSON.stringify([data])},"_tidb":{"commitTs":${commitTs}}}`));
        });
      const mutation = fc.option(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })));
      const outcome = (rows: Buffer[], size?: number) =>
        decode(Buffer.concat(rows), size).then(
          (decoded) => decoded.map(({ op, commitTs, old, data }) => [op, commitTs, JSON.stringify(old), JSON.stringify(data)]),
          (error: { details: { reason: string } }) => error.details.reason,
        );
      await fc.assert(
        fc.asyncProperty(
          fc.array(rowOf, { minLength: 1, maxLength: 8 }),
          mutation,
          fc.integer({ min: 1, max: 3000 }),
          async (rows, change, size) => {
            const last = rows.at(-1)!;
            if (change !== null) last[change[0] % last.length] = change[1];
            const alone = await Promise.all(rows.map((row) => outcome([row])));
            const refused = alone.find((one) => typeof one === 'string');
            expect(await outcome([...known.map((row) => Buffer.from(row)), ...rows], size)).toEqual(
              refused ?? [...(await outcome(known.map((row) => Buffer.from(row)))), ...alone.flat()],
            );
          },
        ),
        { numRuns: 200 },
      );
    });

    it('are read as each alone, wherever a byte is another one', async () => {
      const row = whole('UPDATE', '1668668168117', `[{"a":"1"}],"data":[{"a":"2"}]${TIDB}}`);
      const outcome = (work: Promise<unknown>) => work.catch((error: { details: object }) => ({ ...error.details, row: null }));
      for (let at = 1; at < row.length - 1; at++) {
        for (const char of ['"', ',', '0', '}', 'x']) {
          const text = `${row.slice(0, at)}${char}${row.slice(at + 1)}`;
          expect(await outcome(behindOthers(text))).toEqual(await outcome(decode(text).then((rows) => rows.at(-1))));
        }
      }
    });
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
