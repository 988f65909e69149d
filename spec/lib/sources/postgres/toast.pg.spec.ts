import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { ByteWriter, rowsOf } from '../../../../lib/events/index.ts';
import { canalJson } from '../../../../lib/formats/canal-json.ts';
import { csv } from '../../../../lib/formats/csv.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { closeRuns, makeDatabase, pullRows, Run } from './source-kit.ts';

let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres();
});
afterEach(closeRuns);
afterAll(() => server.stop());

describe('P9: unchanged TOAST values and old images', () => {
  const LONG = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) AS i)";
  const UPDATE = "UPDATE t SET note = 'b' WHERE id = 1";
  const MOVE = 'UPDATE t SET id = 9 WHERE id = 1';

  it.each<[title: string, identity: string, statement: string, old: string[] | null, canal: object, csvResult: RegExp]>([
    [
      'an update without an old image',
      'DEFAULT',
      UPDATE,
      null,
      { old: [{}], data: [{ id: '1', note: 'b' }] },
      /MR_CSV_UNCHANGED_TOAST.*body.*REPLICA IDENTITY FULL/,
    ],
    [
      'an update that changes the key',
      'DEFAULT',
      MOVE,
      ['id'],
      { old: [{ id: '1' }], data: [{ id: '9', note: null }] },
      /MR_CSV_UNCHANGED_TOAST.*body/,
    ],
    [
      'an update that changes the key of an index',
      'USING INDEX t_note',
      "UPDATE t SET note = 'b' WHERE id = 1",
      ['note'],
      { data: [{ id: '1', note: 'b' }] },
      /MR_CSV_UNCHANGED_TOAST.*body/,
    ],
    [
      'an update under a full identity',
      'FULL',
      UPDATE,
      ['id', 'note', 'body'],
      { data: [{ id: '1', note: 'b', body: expect.stringMatching(/^[0-9a-f]{9600}$/) }] },
      /^"U",.*"[0-9a-f]{9600}"/,
    ],
    ['a delete with its key only', 'DEFAULT', 'DELETE FROM t WHERE id = 1', ['id'], { old: null, data: [{ id: '1' }] }, /^"D",/],
    [
      'a delete under a full identity',
      'FULL',
      'DELETE FROM t WHERE id = 1',
      ['id', 'note', 'body'],
      { data: [{ id: '1', note: null, body: expect.stringMatching(/^[0-9a-f]{9600}$/) }] },
      /^"D",.*"[0-9a-f]{9600}"/,
    ],
  ])(
    'P9: %s (replica identity %s) as the server sends it, in canal-json, in csv and rebuilt',
    async (title, identity, statement, old, canal, csvResult) => {
      const isIndex = identity.startsWith('USING');
      const { url, options, query } = await makeDatabase(
        server,
        `toast_${title.replaceAll(/\W/g, '_')}`.slice(0, 50),
        `CREATE TABLE t (id int PRIMARY KEY, note text ${isIndex ? "NOT NULL DEFAULT 'a'" : ''}, body text); ALTER TABLE t ALTER body SET STORAGE EXTERNAL;
       CREATE UNIQUE INDEX t_note ON t (note); ALTER TABLE t REPLICA IDENTITY ${identity}; INSERT INTO t (id, body) VALUES (1, ${LONG})`,
      );
      const run = await Run.open(options);
      expect(await run.differences(url, 'pub')).toEqual([]);
      await query(statement);
      const [event] = await pullRows(run, 1);
      const [row] = [...rowsOf(event!.rows)].map((image) => {
        const before = image.isOld ? image : image.old;
        return { old: before === null ? null : Object.keys(before.toObject()), isUnchanged: !image.isOld && image.isUnchanged('body') };
      });
      expect(row).toEqual({ old, isUnchanged: statement.startsWith('UPDATE') });
      const out = new ByteWriter(16);
      canalJson({ now: () => 0 }).encode(event!.rows, out);
      expect(JSON.parse(out.take().toString())).toMatchObject(canal);
      const asCsv = () => {
        csv({ includeCommitTs: false }).encode(event!.rows, out);
        return out.take().toString();
      };
      const result = (() => {
        try {
          return asCsv();
        } catch (error) {
          return (error as Error).message;
        }
      })();
      expect(result).toMatch(csvResult);
      expect(await run.differences(url, 'pub')).toEqual([]);
    },
  );
});
