import { MillraceError } from '../../lib/errors.ts';
import { type DispatcherId, type Table, tableName } from '../../lib/events/index.ts';
import type { WriteMeter } from './metrics.ts';
import { TableWriter } from './table-writer.ts';
import type { Target } from './target.ts';

/** The writer of each target table. Its lane is the table's name: a table that is dropped and made again under its name stays in one. */
export class TableLanes {
  readonly #target: Target;
  readonly #meter: WriteMeter;
  readonly #writers = new Map<string, { readonly lane: string; readonly table: Table; readonly writer: TableWriter }>();
  readonly #lanes = new Map<DispatcherId, string>();

  constructor(target: Target, meter: WriteMeter) {
    this.#target = target;
    this.#meter = meter;
  }

  of(table: Table): { lane: string; writer: TableWriter } {
    const lane = `${table.schema}\0${table.name}`;
    let found = this.#writers.get(lane);
    if (found === undefined) {
      found = { lane, table, writer: new TableWriter(this.#target, this.#meter) };
      this.#writers.set(lane, found);
    } else if (found.table.sourceSchema !== table.sourceSchema || found.table.sourceName !== table.sourceName) {
      const names = { table: tableName(table), other: tableName(found.table), target: `${table.schema}.${table.name}` };
      throw new MillraceError('MR_TABLES_COLLIDE', names);
    }
    this.#lanes.set(table.dispatcher, lane);
    return found;
  }

  /** The lane of a dispatcher's table; one of its own for a dispatcher that has written nothing yet. */
  laneOf(dispatcher: DispatcherId): string {
    return this.#lanes.get(dispatcher) ?? dispatcher;
  }
}
