import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { RowBlockBuilder, RowCursor, rowEnd } from '../../../../lib/events/index.ts';
import {
  MessageKind,
  messageKindName,
  type PgoutputMessage,
  type PgoutputOptions,
  PgoutputReader,
  parseLsn,
} from '../../../../lib/formats/pgoutput/index.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { textTable } from '../../events/rows.ts';

const STREAMED: (keyof typeof MessageKind)[] = ['streamStart', 'streamStop', 'streamCommit', 'streamAbort'];
const PREPARED: (keyof typeof MessageKind)[] = ['beginPrepare', 'prepare', 'commitPrepared', 'rollbackPrepared', 'streamPrepare'];

/** What a real server sends for one workload, read in every version of the protocol. */
describe('PgoutputReader on what PostgreSQL sends', () => {
  let server: TestPostgres;

  beforeAll(async () => {
    server = await startPostgres({ settings: { max_prepared_transactions: '10', logical_decoding_work_mem: '64kB' } });
    for (const statement of SETUP) await server.query(statement);
    const client = await server.client();
    for (const statement of WORKLOAD) await client.query(statement);
    await client.end();
  }, 120_000);

  afterAll(() => server.stop());

  /** Every message of a slot, with what the reader said of it. */
  async function read(slot: string, options: PgoutputOptions, streaming: string) {
    const reader = new PgoutputReader(options);
    const asked = `'proto_version', '${options.protocolVersion}', 'publication_names', 'p', 'messages', 'true'${streaming}`;
    const rows = await server.query<{ lsn: string; data: Buffer }>(
      `SELECT lsn::text, data FROM pg_logical_slot_peek_binary_changes('${slot}', NULL, NULL, ${asked})`,
    );
    const seen: { kind: MessageKind; message: PgoutputMessage | null; lsn: bigint; data: Buffer }[] = [];
    for (const { lsn, data } of rows) {
      const kind = reader.read(data, 0, data.length);
      if (kind === MessageKind.commit) expect(reader.endLsn).toBe(parseLsn(lsn));
      if (reader.message === null && kind !== MessageKind.begin && kind !== MessageKind.commit)
        expect(rowEnd(data, reader.rowAt, reader.op)).toBe(data.length);
      seen.push({ kind, message: reader.message, lsn: parseLsn(lsn)!, data });
    }
    return seen;
  }

  it.each<[string, string, PgoutputOptions, string, (keyof typeof MessageKind)[]]>([
    ['1', 'plain', { protocolVersion: 1 }, '', []],
    ['2, streamed', 'plain', { protocolVersion: 2 }, `, 'streaming', 'on'`, STREAMED],
    ['3, two-phase', 'prepared', { protocolVersion: 3 }, `, 'streaming', 'on'`, [...STREAMED, ...PREPARED]],
    [
      '4, streamed in parallel',
      'prepared',
      { protocolVersion: 4, parallelStreaming: true },
      `, 'streaming', 'parallel'`,
      [...STREAMED, ...PREPARED],
    ],
  ])(
    'reads all of protocol version %s',
    async (_, slot, options, streaming, more) => {
      const seen = await read(slot, options, streaming);
      const kinds = new Set(seen.map(({ kind }) => messageKindName(kind)));
      const everywhere = ['begin', 'commit', 'relation', 'type', 'insert', 'update', 'delete', 'truncate', 'message'];
      expect([...kinds].sort()).toEqual([...everywhere, ...more].sort());
      const aborts = seen.flatMap(({ message }) => (message?.type === 'streamAbort' ? [message] : []));
      expect(aborts.every(({ abortLsn }) => (abortLsn !== null) === (options.protocolVersion === 4))).toBe(true);
    },
    60_000,
  );

  it('reads the shape of a relation and the images of its rows', async () => {
    const seen = await read('plain', { protocolVersion: 1 }, '');
    const relation = seen.find(({ message }) => message?.type === 'relation' && message.name === 'small')!.message;
    expect(relation).toEqual({
      type: 'relation',
      relationId: expect.any(Number),
      namespace: 'public',
      name: 'small',
      replicaIdentity: 'd',
      columns: [
        { name: 'id', isKey: true, typeOid: 23, typeModifier: -1 },
        { name: 'text', isKey: false, typeOid: 1043, typeModifier: 24 },
        { name: 'mood', isKey: false, typeOid: expect.any(Number), typeModifier: -1 },
      ],
    });

    const table = textTable(['id', 'text', 'mood']);
    const reader = new PgoutputReader();
    const images = seen
      .filter(({ kind }) => kind === MessageKind.insert || kind === MessageKind.update || kind === MessageKind.delete)
      .flatMap(({ data }) => {
        reader.read(data, 0, data.length);
        if (reader.relationId !== (relation as { relationId: number }).relationId) return [];
        const builder = new RowBlockBuilder();
        builder.append(reader.op, reader.rowAt, 0);
        const row = new RowCursor().moveTo(builder.build(table, data), 0);
        return [[row.op, row.old?.toObject() ?? null, row.toObject()]];
      });
    expect(images).toEqual([
      ['insert', null, { id: '1', text: 'one', mood: 'ok' }],
      ['insert', null, { id: '2', text: null, mood: null }],
      ['update', null, { id: '1', text: '', mood: 'ok' }],
      ['update', { id: '1' }, { id: '3', text: '', mood: 'ok' }],
      ['delete', null, { id: '2' }],
    ]);
  }, 60_000);
});

const SETUP = [
  `CREATE TYPE mood AS ENUM ('ok', 'bad')`,
  'CREATE TABLE small (id int PRIMARY KEY, text varchar(20), mood mood)',
  'CREATE TABLE wide (id int PRIMARY KEY, filler text)',
  'ALTER TABLE wide REPLICA IDENTITY FULL',
  'CREATE PUBLICATION p FOR TABLE small, wide',
  `SELECT pg_create_logical_replication_slot('plain', 'pgoutput')`,
  `SELECT pg_create_logical_replication_slot('prepared', 'pgoutput', false, true)`,
];

/** Several times what decoding keeps in memory, so that it is streamed where streaming was asked for. */
const LARGE = `INSERT INTO wide SELECT i, repeat('x', 200) FROM generate_series`;

const WORKLOAD = [
  `INSERT INTO small VALUES (1, 'one', 'ok'), (2, NULL, NULL)`,
  `UPDATE small SET text = '' WHERE id = 1`,
  'UPDATE small SET id = 3 WHERE id = 1',
  'DELETE FROM small WHERE id = 2',
  `SELECT pg_logical_emit_message(false, 'prefix', 'now')`,
  `SELECT pg_logical_emit_message(true, 'prefix', 'with the transaction')`,
  `BEGIN; ${LARGE}(1, 2000) i; SAVEPOINT s; ${LARGE}(2001, 4000) i; ROLLBACK TO s; DELETE FROM wide WHERE id < 100; COMMIT`,
  'TRUNCATE small, wide RESTART IDENTITY CASCADE',
  `BEGIN; ${LARGE}(5001, 7000) i; PREPARE TRANSACTION 'large'`,
  `COMMIT PREPARED 'large'`,
  `BEGIN; INSERT INTO wide VALUES (9001, 'y'); PREPARE TRANSACTION 'small'`,
  `COMMIT PREPARED 'small'`,
  `BEGIN; INSERT INTO wide VALUES (9002, 'z'); PREPARE TRANSACTION 'gone'`,
  `ROLLBACK PREPARED 'gone'`,
];
