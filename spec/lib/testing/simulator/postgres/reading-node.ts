import { type Delivery, formatPosition, rowsOf } from '../../../../../lib/events/index.ts';
import { Metrics, noSystemEvents, silentLogger } from '../../../../../lib/flow/index.ts';
import type { JsonValue } from '../../../../../lib/formats/json.ts';
import type { SimProcess, Simulation } from '../../../../../lib/testing/simulator/index.ts';
import {
  expectedOf,
  type SimDatabase,
  type SimPostgresSource,
  type SimServer,
} from '../../../../../lib/testing/simulator/postgres/index.ts';

/** A row or a TRUNCATE, as a reader sees it. */
export interface SeenChange {
  readonly commitTs: bigint;
  readonly ordinal: number;
  readonly op: string;
  readonly old: Record<string, string | null> | null;
  readonly data: Record<string, string | null> | null;
  readonly version: bigint;
}

/**
 * What outlives a node that reads a source: the checkpoint, the source's state, and what was seen, by table and place. Changes that are seen again at the same
 * place must be the same.
 */
export class Durable {
  checkpointTs: bigint | null = null;
  state: JsonValue | null = null;
  readonly tables = new Map<number, Map<string, SeenChange>>();
  readonly errors: string[] = [];
  /** The source's own error that ended a run. */
  failure: unknown = null;
  starts = 0;
  /** Deliveries of rows that end inside a transaction, and snapshots that were taken again. */
  cut = 0;
  abandoned = 0;
  resolvedTs = -1n;
  deliveries = 0;

  changesOf(oid: number): SeenChange[] {
    return [...(this.tables.get(oid)?.values() ?? [])];
  }

  see(delivery: Delivery): void {
    this.deliveries++;
    const { events } = delivery;
    if (events.some(({ type }) => type === 'dml') && !events.some(({ type }) => type === 'resolved')) this.cut++;
    for (const event of delivery.events) {
      if (event.type === 'dml') {
        const { table } = event.rows;
        let index = 0;
        for (const row of rowsOf(event.rows)) {
          const position = event.rows.positionOf(index++);
          const values = (image: typeof row, isKeyOnly: boolean) => {
            const result: Record<string, string | null> = {};
            for (const { name, isIdentity } of table.columns) {
              const value = image.get(name);
              if (value !== undefined && !(isKeyOnly && !isIdentity)) result[name] = value;
            }
            return result;
          };
          const isKeyOnly = table.replicaIdentity === 'default';
          const op = row.op === 'insert' ? 'I' : row.op === 'update' ? 'U' : 'D';
          const old = op === 'D' ? values(row, isKeyOnly) : row.old === null ? null : values(row.old, isKeyOnly);
          this.#add(table.tableId, { ...position, op, old, data: op === 'D' ? null : values(row, false), version: table.version });
        }
      } else if (event.type === 'truncate') {
        this.#add(event.table.tableId, { ...event.position, op: 'T', old: null, data: null, version: event.table.version });
      } else if (event.type === 'ddl') {
        const table = this.tables.get(event.table.tableId);
        this.abandoned += event.abandons.length;
        // The rows of this version are all there are: whatever came before is void.
        if (event.startsEmpty) table?.clear();
      } else if (event.type === 'resolved') {
        if (event.commitTs < this.resolvedTs) this.errors.push(`resolved went from ${this.resolvedTs} to ${event.commitTs}`);
        this.resolvedTs = event.commitTs;
      }
    }
  }

  #add(oid: number, change: SeenChange): void {
    const table = this.tables.get(oid) ?? new Map<string, SeenChange>();
    this.tables.set(oid, table);
    const place = `${change.commitTs}/${change.ordinal}`;
    const before = table.get(place);
    if (before === undefined) table.set(place, change);
    else if (textOf(before) !== textOf(change)) this.errors.push(`${oid} at ${place}: ${textOf(change)} instead of ${textOf(before)}`);
  }
}

/** The program of a node: reads the source from the last checkpoint on, makes each resolved mark durable after a while, and confirms it. */
export function reads(sim: Simulation, source: SimPostgresSource, durable: Durable) {
  return async ({ clock, name }: SimProcess): Promise<void> => {
    durable.starts++;
    durable.resolvedTs = -1n;
    const opened = await source.open({
      ...{ pipeline: 'p', clock, logger: silentLogger, metrics: new Metrics(), events: noSystemEvents, targetIdentity: null },
      ...{ checkpointTs: durable.checkpointTs, state: durable.state, signal: new AbortController().signal },
      saveState: async (state) => {
        await clock.sleep(1);
        durable.state = state;
      },
    });
    for await (const delivery of opened.deliveries) {
      durable.see(delivery);
      sim.note(
        name,
        `delivery of ${delivery.events.map((event) => (event.type === 'dml' ? formatPosition(event.rows.last) : event.type)).join()}`,
      );
      for (const event of delivery.events) {
        if (event.type !== 'resolved') continue;
        clock.after(Math.floor(clock.random() * 50), () => {
          if (durable.checkpointTs !== null && durable.checkpointTs >= event.commitTs) return;
          durable.checkpointTs = event.commitTs;
          opened.confirm(event.commitTs);
        });
      }
    }
  };
}

/** How what was seen differs from what the oracle knows; empty when it does not. */
export function differences(database: SimDatabase, source: SimPostgresSource, durable: Durable, from?: bigint): string[] {
  const found = [...durable.errors];
  for (const { oid, isPublished, schema, name } of database.tables.values()) {
    const seen = durable.changesOf(oid).map(textOf);
    const hasSnapshot = from === undefined;
    if (hasSnapshot && isPublished && !source.snapshots.has(oid)) return [...found, `${schema}.${name} has no snapshot`];
    const { changes } = isPublished ? expectedOf(database, oid, from ?? source.snapshots.get(oid)!, hasSnapshot) : { changes: [] };
    const expected = changes.map(textOf);
    const place = expected.findIndex((text, index) => text !== seen[index]);
    if (place >= 0 || seen.length !== expected.length) {
      const at = place < 0 ? expected.length : place;
      found.push(`${schema}.${name}: ${seen.length} instead of ${expected.length}; at ${at} ${seen[at]} instead of ${expected[at]}`);
    }
  }
  return found;
}

/** Everything that was committed has been confirmed to the server. */
export function isCaughtUp({ database }: SimServer, durable: Durable): boolean {
  const last = database.history.at(-1)?.commitTs ?? 0n;
  return durable.checkpointTs !== null && durable.checkpointTs >= last;
}

function textOf({ commitTs, ordinal, op, old, data, version }: SeenChange): string {
  return `${commitTs}/${ordinal} ${op} ${JSON.stringify(sorted(old))} ${JSON.stringify(sorted(data))} v${version}`;
}

function sorted(row: SeenChange['data']): unknown {
  return row === null ? null : Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1));
}
