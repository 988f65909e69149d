import { MillraceError } from '../../../lib/errors.ts';
import { type DispatcherId, type Table, tableName } from '../../../lib/events/index.ts';
import type { WriteMeter } from '../metrics.ts';
import type { Target } from '../target.ts';
import { IdleSweep } from './idle-sweep.ts';
import { TableWriter } from './table-writer.ts';

/**
 * The writer of each target table. Its lane is the table's name: a table that is dropped and made again under its name stays in one. A writer that has not been
 * asked for in a day and has nothing to do is forgotten (`IdleSweep`): a new one reads from the target what it must know.
 */
export class TableLanes {
  readonly #target: Target;
  readonly #meter: WriteMeter;
  readonly #lanes = new Map<string, TableLane>();
  readonly #laneOf = new Map<DispatcherId, TableLane>();
  readonly #sweep: IdleSweep;

  /** `isBusy`: whether a lane has something to do. */
  constructor(target: Target, meter: WriteMeter, isBusy: (lane: string) => boolean) {
    this.#target = target;
    this.#meter = meter;
    this.#sweep = new IdleSweep((lane) => this.#forget(lane), isBusy);
  }

  /** How many writers are kept. */
  get size(): number {
    return this.#lanes.size;
  }

  of(table: Table): { readonly lane: string; readonly writer: TableWriter } {
    const { dispatcher } = table;
    const lane = `${table.schema}\0${table.name}`;
    let found = this.#lanes.get(lane);
    if (found === undefined) {
      found = { lane, table, writer: new TableWriter(this.#target, this.#meter), dispatchers: new Set() };
      this.#lanes.set(lane, found);
    } else if (found.table.sourceSchema !== table.sourceSchema || found.table.sourceName !== table.sourceName) {
      const names = { table: tableName(table), other: tableName(found.table), target: `${table.schema}.${table.name}` };
      throw new MillraceError('MR_TABLES_COLLIDE', names);
    }
    const before = this.#laneOf.get(dispatcher);
    if (before !== found) {
      before?.dispatchers.delete(dispatcher);
      found.dispatchers.add(dispatcher);
      this.#laneOf.set(dispatcher, found);
    }
    this.#sweep.touch(lane, this.#target.context.clock.now());
    return found;
  }

  /** The lane of a dispatcher's table; one of its own for a dispatcher that has written nothing yet, or not in a day. */
  laneOf(dispatcher: DispatcherId): string {
    return this.#laneOf.get(dispatcher)?.lane ?? dispatcher;
  }

  #forget(lane: string): void {
    const { dispatchers } = this.#lanes.get(lane)!;
    this.#lanes.delete(lane);
    for (const dispatcher of dispatchers) this.#laneOf.delete(dispatcher);
  }
}

interface TableLane {
  readonly lane: string;
  readonly table: Table;
  readonly writer: TableWriter;
  /** Those that wrote to it last. */
  readonly dispatchers: Set<DispatcherId>;
}
