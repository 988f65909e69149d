import { Observable, type OperatorFunction } from 'rxjs';
import {
  type BlockEvent,
  type Delivery,
  type DispatcherId,
  type DmlEvent,
  type DrainMarker,
  drainMarker,
  isBlockEvent,
  isDataEvent,
  type Table,
  tableOf,
} from '../../../lib/events/index.ts';
import type { Clock } from '../../../lib/flow/index.ts';
import { IdleSweep } from '../files/idle-sweep.ts';

/**
 * What is written of each delivery, event by event: rows, markers and block events. Where a stage drops schema changes, a table's version changes between
 * two blocks of rows: a marker then does what the schema change would have done, so that no version is written before the rows of an earlier one. So does
 * one where a table takes the name of another.
 */
export function writableEvents(clock: Clock): OperatorFunction<Delivery, DmlEvent | DrainMarker | BlockEvent> {
  return (source) =>
    new Observable((subscriber) => {
      const tables = new LastTables((dispatcher) => subscriber.next(drainMarker(dispatcher)));
      return source.subscribe({
        next: ({ events }) => {
          const nowMs = clock.now();
          for (const event of events) {
            if (isDataEvent(event)) tables.comes(event.dispatcher, tableOf(event), event.type === 'dml', nowMs);
            if (event.type === 'dml' || event.type === 'marker' || isBlockEvent(event)) subscriber.next(event);
          }
        },
        error: (error: unknown) => subscriber.error(error),
        complete: () => subscriber.complete(),
      });
    });
}

/** The table that each dispatcher had last, and whose each target name is. */
class LastTables {
  readonly #drain: (dispatcher: DispatcherId) => void;
  readonly #last = new Map<DispatcherId, { table: Table; touchedMs: number }>();
  readonly #owners = new Map<string, Table>();
  readonly #sweep = new IdleSweep((dispatcher) => this.#forget(dispatcher as DispatcherId));

  constructor(drain: (dispatcher: DispatcherId) => void) {
    this.#drain = drain;
  }

  /** An event of this table is next. Rows of others that must be written before it are drained. */
  comes(dispatcher: DispatcherId, table: Table, isRows: boolean, nowMs: number): void {
    const last = this.#last.get(dispatcher);
    if (last?.table === table && nowMs - last.touchedMs < TOUCH_INTERVAL_MS) return;
    const owner = this.#takeName(table, last?.table ?? null);
    if (owner !== null) this.#drain(owner.dispatcher);
    if (isRows && last !== undefined && last.table.version !== table.version) this.#drain(dispatcher);
    this.#last.set(dispatcher, { table, touchedMs: nowMs });
    this.#sweep.touch(dispatcher, nowMs);
  }

  /**
   * The table that has had this one's target name until now, if it is another: dropped, perhaps, or renamed. Its rows are written before anything of this one, whose
   * version would make them stale. Pieces of one table share its name.
   */
  #takeName(table: Table, before: Table | null): Table | null {
    if (before === table) return null;
    if (before !== null) this.#giveName(before);
    const name = targetName(table);
    const owner = this.#owners.get(name);
    this.#owners.set(name, table);
    return owner === undefined || owner.tableId === table.tableId || table.isPartition === true ? null : owner;
  }

  /** What was gathered under a name that a table gives up is drained by its change. */
  #giveName(table: Table): void {
    const name = targetName(table);
    if (this.#owners.get(name) === table) this.#owners.delete(name);
  }

  #forget(dispatcher: DispatcherId): void {
    const { table } = this.#last.get(dispatcher)!;
    this.#last.delete(dispatcher);
    this.#giveName(table);
  }
}

function targetName({ schema, name }: Table): string {
  return `${schema}\0${name}`;
}

/** So often is it noted that a dispatcher is in use: its events come by the hundred thousand. */
const TOUCH_INTERVAL_MS = 60_000;
