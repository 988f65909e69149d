import { beforeEach, describe, expect, it } from '@jest/globals';
import { isMillraceError } from '../../../../lib/errors.ts';
import { type Delivery, formatPosition, rowsOf } from '../../../../lib/events/index.ts';
import { Arena } from '../../../../lib/sources/postgres/arena.ts';
import { Assembler } from '../../../../lib/sources/postgres/assembler.ts';
import { MemorySchema } from '../../../support/memory-schema.ts';
import { bytes } from '../../../support/pgoutput-bytes.ts';

const { begin, commit, relation, insert, update, remove, truncate, keepalive } = bytes;
const USERS = 1;
const ORDERS = 2;
const users = relation(USERS, 'users');
const orders = relation(ORDERS, 'orders');

describe('Assembler', () => {
  let schema: MemorySchema;
  let assembler: Assembler;

  beforeEach(() => {
    schema = new MemorySchema();
    assembler = new Assembler(schema, 50n);
  });

  /** Feeds what one read brought, and says what came out of it: one line for each delivery. */
  async function read(...payloads: Buffer[]): Promise<string[]> {
    const arena = new Arena(4096);
    const taken: Delivery[] = [];
    for (const payload of payloads) {
      arena.append(payload);
      let isRead = false;
      while (!isRead && !assembler.feed(arena.bytes, arena.at, arena.end)) {
        isRead = await assembler.settle();
        if (isRead) arena.at = arena.end;
        taken.push(...assembler.take(() => arena.take()));
      }
      arena.at = arena.end;
    }
    taken.push(...assembler.take(() => arena.take()));
    return taken.map((delivery) => delivery.events.map(describeEvent).join(' | '));
  }

  describe('resolved marks', () => {
    it.each([
      { title: 'a commit ending at L resolves L − 1, because the next may be at L', end: 108n, expected: ['resolved 107'] },
      { title: 'a commit ending where the next begins resolves what is before it', end: 101n, expected: ['resolved 100'] },
    ])('P1: $title', async ({ end, expected }) => {
      expect(await read(begin(100n), commit(100n, end))).toEqual(expected);
    });

    it('P1: a keepalive at L resolves L − 1, and a commit at L follows it in order', async () => {
      expect(await read(keepalive(200n))).toEqual(['resolved 199']);
      expect(await read(begin(200n), users, insert(USERS, 'a'), commit(200n, 208n))).toEqual(['users 200/0 I a | resolved 207']);
    });

    it('P1: row headers resolve nothing, however high their LSN', async () => {
      expect(await read(begin(100n), users, insert(USERS, 'a'))).toEqual(['users 100/0 I a']);
    });

    it('P1: they never go back, and do not repeat', async () => {
      expect(await read(keepalive(200n), keepalive(150n), keepalive(200n))).toEqual(['resolved 199']);
      expect(await read(keepalive(200n), keepalive(51n), keepalive(0n))).toEqual([]);
    });

    it('P1: one delivery carries the newest only, behind its rows', async () => {
      const first = [begin(100n), users, insert(USERS, 'a'), commit(100n, 108n)];
      expect(await read(...first, keepalive(110n), begin(120n), insert(USERS, 'b'), commit(120n, 128n))).toEqual([
        'users 100/0 I a 120/0 I b | resolved 127',
      ]);
    });

    it('I2: inside a transaction nothing is resolved, not by keepalives either', async () => {
      expect(await read(begin(100n), users, insert(USERS, 'a'))).toEqual(['users 100/0 I a']);
      expect(await read(keepalive(500n), insert(USERS, 'b'))).toEqual(['users 100/1 I b']);
      expect(await read(commit(100n, 108n))).toEqual(['resolved 107']);
    });

    it('I7: empty transactions and those of tables that are not captured resolve too', async () => {
      schema.ignored.add('users');
      expect(await read(begin(100n), commit(100n, 108n))).toEqual(['resolved 107']);
      expect(await read(begin(110n), users, insert(USERS, 'a'), commit(110n, 118n))).toEqual(['resolved 117']);
    });
  });

  describe('positions', () => {
    it('count the rows of all tables of a transaction, so that they do not depend on what is captured', async () => {
      schema.ignored.add('orders');
      const transaction = [begin(100n), users, orders, insert(ORDERS, 'x'), insert(USERS, 'a'), update(ORDERS, 'y'), remove(USERS, 'a')];
      expect(await read(...transaction, commit(100n, 108n))).toEqual(['users 100/1 I a 100/3 D a | resolved 107']);
    });

    it('start at 0 in each transaction, and one block spans several', async () => {
      const first = [begin(100n), users, insert(USERS, 'a'), update(USERS, 'a'), commit(100n, 108n)];
      expect(await read(...first, begin(120n), insert(USERS, 'b'), commit(120n, 128n))).toEqual([
        'users 100/0 I a 100/1 U a 120/0 I b | resolved 127',
      ]);
    });

    it('go by blocks of each table', async () => {
      await read(begin(90n), users, orders, insert(USERS, 'a'), insert(ORDERS, 'x'), commit(90n, 98n));
      expect(await read(begin(100n), insert(USERS, 'a'), insert(ORDERS, 'x'), insert(USERS, 'b'), commit(100n, 108n))).toEqual([
        'users 100/0 I a 100/2 I b | orders 100/1 I x | resolved 107',
      ]);
    });

    it('are not touched by types, origins and messages', async () => {
      const others = [bytes.type(), bytes.origin(), bytes.message()];
      expect(await read(begin(100n), ...others, users, insert(USERS, 'a'), commit(100n, 108n))).toEqual(['users 100/0 I a | resolved 107']);
    });

    it('are not touched by messages that go to the schema history, each with the place of the change behind it', async () => {
      assembler = new Assembler(schema, 50n, 'ours');
      const [ours, others] = [bytes.message('ours', 'x'), bytes.message('others', 'x')];
      const transaction = [begin(100n), ours, users, others, insert(USERS, 'a'), ours, insert(USERS, 'b'), commit(100n, 108n)];
      expect(await read(...transaction)).toEqual(['users 100/0 I a', 'users 100/1 I b | resolved 107']);
      expect(schema.asked.filter((asked) => asked.startsWith('statement'))).toEqual(['statement ours x 100/0', 'statement ours x 100/1']);
    });

    it('messages outside a transaction, or that are of none, go nowhere', async () => {
      assembler = new Assembler(schema, 50n, 'ours');
      expect(await read(bytes.message('ours', 'x'), begin(100n), bytes.message('ours', 'x', false), commit(100n, 108n))).toEqual([
        'resolved 107',
      ]);
      expect(schema.asked).toEqual([]);
    });

    it('P7: messages of what was taken before a reconnection are not told again', async () => {
      assembler = new Assembler(schema, 50n, 'ours');
      const ours = (content: string) => bytes.message('ours', content);
      await read(begin(100n), ours('a'), commit(100n, 108n), begin(110n), ours('b'), users, insert(USERS, 'a'), ours('c'));
      assembler.reconnected();
      schema.asked.length = 0;
      await read(
        begin(100n),
        ours('a'),
        commit(100n, 108n),
        begin(110n),
        ours('b'),
        users,
        insert(USERS, 'a'),
        ours('c'),
        commit(110n, 118n),
      );
      expect(schema.asked).toEqual(['statement ours c 110/1']);
    });

    it('a transaction may be cut anywhere: the cut goes on where it was', async () => {
      expect(await read(begin(100n), users, insert(USERS, 'a'))).toEqual(['users 100/0 I a']);
      expect(await read(insert(USERS, 'b'))).toEqual(['users 100/1 I b']);
    });
  });

  describe('P5: a table whose snapshot is at S', () => {
    it('has its transactions before S dropped, the one at S kept, and other tables untouched', async () => {
      schema.dropBefore.set('users', 110n);
      const first = [begin(100n), users, orders, insert(USERS, 'a'), insert(ORDERS, 'x'), truncate(USERS), commit(100n, 108n)];
      expect(await read(...first, begin(110n), insert(USERS, 'b'), commit(110n, 118n))).toEqual([
        'orders 100/1 I x',
        'users 110/0 I b | resolved 117',
      ]);
      expect(schema.asked).not.toContainEqual(expect.stringContaining('truncate'));
    });

    it('a table that is stopped while the stream runs has no rows from the next delivery on', async () => {
      expect(await read(begin(100n), users, insert(USERS, 'a'))).toEqual(['users 100/0 I a']);
      schema.ignored.add('users');
      expect(await read(insert(USERS, 'b'), commit(100n, 108n))).toEqual(['resolved 107']);
    });
  });

  describe('block events', () => {
    it('P10: TRUNCATE of several tables is an event each, in a delivery of its own, between the rows around it', async () => {
      schema.ignored.add('orders');
      const before = [begin(100n), users, orders, relation(3, 'items'), insert(USERS, 'a')];
      expect(await read(...before, truncate(USERS, ORDERS, 3), insert(USERS, 'b'), commit(100n, 108n))).toEqual([
        'users 100/0 I a',
        'truncate users 100/1 v100',
        'truncate items 100/3 v100',
        'users 100/4 I b | resolved 107',
      ]);
    });

    it('P7: a relation that changed inside a transaction is a DDL event before its next row, and rows know their version', async () => {
      const changed = relation(USERS, 'users', ['id', 'email']);
      const payloads = [begin(100n), users, insert(USERS, 'a'), changed, insert(USERS, 'b', 'b@x'), commit(100n, 108n)];
      expect(await read(...payloads)).toEqual(['users 100/0 I a', 'ddl users 100/1 v100', 'users 100/1 I b,b@x | resolved 107']);
    });

    it('P7: the schema history is asked once for each relation message, and only when a change uses it', async () => {
      await read(begin(100n), users, orders, insert(USERS, 'a'), insert(USERS, 'b'), commit(100n, 108n));
      expect(schema.asked).toEqual(['resolve users 100/0']);
      await read(begin(110n), users, insert(ORDERS, 'x'), insert(USERS, 'c'), commit(110n, 118n));
      expect(schema.asked).toEqual(['resolve users 100/0', 'resolve orders 110/0', 'resolve users 110/1']);
    });
  });

  describe('a replay after a reconnection', () => {
    it('repeats nothing of whole transactions, and gives what follows', async () => {
      const first = [begin(100n), users, insert(USERS, 'a'), truncate(USERS), commit(100n, 108n)];
      await read(...first);
      assembler.reconnected();
      expect(await read(...first, begin(110n), insert(USERS, 'b'), commit(110n, 118n))).toEqual(['users 110/0 I b | resolved 117']);
    });

    it('I3: goes on behind the exact ordinal of a transaction that was cut', async () => {
      const rows = [insert(USERS, 'a'), update(USERS, 'b'), truncate(USERS), insert(USERS, 'c'), remove(USERS, 'd')];
      for (let cut = 0; cut <= rows.length; cut++) {
        schema = new MemorySchema();
        assembler = new Assembler(schema, 50n);
        const first = await read(begin(100n), users, ...rows.slice(0, cut));
        assembler.reconnected();
        const second = await read(begin(100n), users, ...rows, commit(100n, 108n));
        const whole = [...first, ...second].join(' | ').replaceAll(/(users|truncate users) /g, '');
        expect(whole.replaceAll(' | ', ' ')).toBe('100/0 I a 100/1 U b 100/2 v100 100/3 I c 100/4 D d resolved 107');
      }
    });

    it('loses nothing when the replay breaks before it has come as far as the first time', async () => {
      const rows = ['a', 'b', 'c'].map((value) => insert(USERS, value));
      await read(begin(100n), users, ...rows.slice(0, 2));
      assembler.reconnected();
      expect(await read(begin(100n), users, rows[0]!)).toEqual([]);
      assembler.reconnected();
      expect(await read(begin(90n), commit(90n, 98n))).toEqual(['resolved 97']);
      assembler.reconnected();
      expect(await read(begin(100n), users, ...rows, commit(100n, 108n))).toEqual(['users 100/2 I c | resolved 107']);
    });

    it('I6: what is not behind the start is skipped as well', async () => {
      expect(await read(begin(50n), users, insert(USERS, 'old'), commit(50n, 58n))).toEqual(['resolved 57']);
    });
  });

  it('asks for a status when a keepalive does', async () => {
    await read(keepalive(100n));
    expect(assembler.replyRequested).toBe(false);
    await read(keepalive(100n, true));
    expect(assembler.replyRequested).toBe(true);
    expect(assembler.serverTs).toBe(100n);
  });

  it.each([
    { title: 'a row outside a transaction', payloads: [users, insert(USERS, 'a')] },
    { title: 'a TRUNCATE outside a transaction', payloads: [users, truncate(USERS)] },
    { title: 'a transaction inside another', payloads: [begin(100n), begin(110n)] },
    { title: 'a commit outside a transaction', payloads: [commit(100n, 108n)] },
    { title: 'a commit of another transaction', payloads: [begin(100n), commit(101n, 108n)] },
    { title: 'a row of a relation that was not described', payloads: [begin(100n), insert(9, 'a')] },
    { title: 'a row with another number of columns', payloads: [begin(100n), users, insert(USERS, 'a', 'b')] },
  ])('a stream that contradicts itself is an error: $title', async ({ payloads }) => {
    const error = await read(...payloads).catch((reason: unknown) => reason);
    expect(isMillraceError(error, 'MR_STREAM_BROKEN')).toBe(true);
  });
});

function describeEvent(event: Delivery['events'][number]): string {
  switch (event.type) {
    case 'dml': {
      let row = 0;
      const rows: string[] = [];
      for (const image of rowsOf(event.rows)) {
        const position = formatPosition(event.rows.positionOf(row++));
        rows.push(`${position} ${image.op.charAt(0).toUpperCase()} ${Object.values(image.toObject()).join()}`);
      }
      return `${event.rows.table.name} ${rows.join(' ')}`;
    }
    case 'resolved':
      return `resolved ${event.commitTs}`;
    case 'ddl':
    case 'truncate':
      return `${event.type} ${event.table.name} ${formatPosition(event.position)} v${event.table.version}`;
    default:
      return event.type;
  }
}
