import { setTimeout as sleep } from 'node:timers/promises';
import {
  comparePositions,
  type Delivery,
  firstPosition,
  formatPosition,
  lastPosition,
  type Position,
  rowsOf,
} from '../../../../lib/events/index.ts';
import { Metrics, silentLogger, systemClock } from '../../../../lib/flow/index.ts';
import { parseLsn } from '../../../../lib/formats/pgoutput/index.ts';
import { openStream, type PostgresStream, type StreamOptions } from '../../../../lib/sources/postgres/stream.ts';
import { connectWire } from '../../../../lib/sources/postgres/wire-connection.ts';
import { MemorySchema } from '../../../support/memory-schema.ts';
import type { TestPostgres } from '../../../support/postgres.ts';

/** A database with a table `t (id int primary key, note text)`, a publication `pub` of it and a slot `name`. */
export async function makeSlot(server: TestPostgres, name: string): Promise<string> {
  const url = await server.createDatabase(name);
  await server.query('CREATE TABLE t (id int PRIMARY KEY, note text); CREATE PUBLICATION pub FOR TABLE t', [], name);
  await server.query(`SELECT pg_create_logical_replication_slot('${name}', 'pgoutput')`, [], name);
  return url;
}

/** What a consumer has seen of a stream: it confirms each resolved mark, unless told not to. */
export class Reader {
  readonly stream: PostgresStream;
  readonly schema: MemorySchema;
  readonly abort = new AbortController();
  /** `I 1`, in order of arrival. */
  readonly rows: string[] = [];
  readonly deliveries: Delivery[] = [];
  resolvedTs = 0n;
  confirms = true;
  readonly #iterator: AsyncIterator<Delivery>;
  readonly #last = new Map<string, Position>();

  constructor(url: string, slot: string, fromTs: bigint, options: Partial<StreamOptions> = {}, schema = new MemorySchema()) {
    this.schema = schema;
    this.stream = openStream({
      connect: () => connectWire({ config: { connectionString: url }, replication: true, clock: systemClock }),
      slot,
      publication: 'pub',
      resolver: schema,
      fromTs,
      clock: systemClock,
      logger: silentLogger,
      metrics: new Metrics(),
      signal: this.abort.signal,
      ...options,
    });
    this.#iterator = this.stream.deliveries[Symbol.asyncIterator]();
  }

  /** Pulls one delivery and checks what every delivery must hold; null at the end. */
  async pull(): Promise<Delivery | null> {
    const { done, value: delivery } = await this.#iterator.next();
    if (done) return null;
    this.deliveries.push(delivery);
    for (const event of delivery.events) {
      if (event.type === 'resolved') {
        if (event.commitTs <= this.resolvedTs) throw new Error(`resolved went from ${this.resolvedTs} to ${event.commitTs}`);
        this.resolvedTs = event.commitTs;
        if (this.confirms) this.stream.confirm(event.commitTs);
      } else if (event.type === 'dml') {
        for (const row of rowsOf(event.rows)) this.rows.push(`${row.op.charAt(0).toUpperCase()} ${row.get('id')}`);
      } else {
        this.rows.push(event.type);
      }
      // A schema change has the position of the change behind it.
      if (event.type !== 'dml' && event.type !== 'truncate') continue;
      const last = this.#last.get(event.dispatcher);
      const first = firstPosition(event);
      if (last !== undefined && comparePositions(last, first) >= 0) {
        throw new Error(`${formatPosition(first)} came after ${formatPosition(last)}`);
      }
      this.#last.set(event.dispatcher, lastPosition(event));
    }
    return delivery;
  }

  async pullUntil(isDone: () => boolean): Promise<void> {
    while (!isDone()) if ((await this.pull()) === null) throw new Error('the stream ended');
  }

  async close(): Promise<void> {
    await this.stream.close();
  }
}

/** Where the slot stands: the reader starts behind it. */
export async function slotStart(server: TestPostgres, slot: string): Promise<bigint> {
  return (await slotFacts(server, slot)).confirmed - 1n;
}

export async function slotFacts(server: TestPostgres, slot: string): Promise<{ confirmed: bigint; activePid: number | null }> {
  const [row] = await server.query<{ confirmed: string; pid: number | null }>(
    `SELECT confirmed_flush_lsn::text AS confirmed, active_pid AS pid FROM pg_replication_slots WHERE slot_name = '${slot}'`,
  );
  return { confirmed: parseLsn(row!.confirmed)!, activePid: row!.pid };
}

/** The end of what the server has written. */
export async function walEnd(server: TestPostgres): Promise<bigint> {
  const [row] = await server.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
  return parseLsn(row!.lsn)!;
}

/** Asks again and again until it holds; the test's own timeout bounds it. */
export async function eventually(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(20);
}
