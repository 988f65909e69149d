import { Subject } from 'rxjs';
import { type Delivery, defineTable } from '../../../../../lib/events/index.ts';
import { type Clock, createContext, type Stage } from '../../../../../lib/flow/index.ts';
import type { OpenSource, Source, SourceContext } from '../../../../../lib/sources/source.ts';
import { describeSource, type SourceChange, VirtualClock } from '../../../../../lib/testing/index.ts';
import {
  type ServiceRowChange,
  type ServiceTable,
  SimEventService,
  type SimSessionSource,
  simSession,
} from '../../../../../lib/testing/simulator/session/index.ts';
import { suiteTable } from '../../../../../lib/testing/suite-tables.ts';
import { checkSequence, dedupeCommitTs, filterEpoch, filterTables } from '../../../../../operators/index.ts';

describeSource('simulated session, put in order by the stages of a collector', async () => {
  const log = new SuiteLog();
  const session = simSession({ service: log.service, resolveEveryMs: 50 });
  const clock = new VirtualClock();
  let isOver = false;
  // The suite waits in real time, and the channel keeps its order only where timers do.
  const passing = (async () => {
    while (!isOver) await clock.advance(1);
  })();
  return {
    source: ordered(session, clock),
    commit: async (changes: readonly SourceChange[]) => log.commit(changes),
    commitElsewhere: async () => log.commitElsewhere(),
    close: () => {
      isOver = true;
      return passing;
    },
  };
});

/** The source that a collector makes of the sessions of tables `a` and `b`. */
function ordered(session: SimSessionSource, clock: Clock): Source {
  const stages = (): Stage[] => [
    session.bind(filterEpoch()),
    session.bind(checkSequence()),
    dedupeCommitTs({ ordinals: false }),
    session.mergeMarks(),
    filterTables(['public.*']),
  ];
  return {
    name: session.name,
    options: session.options,
    open: async (context: SourceContext): Promise<OpenSource> => {
      const opened = await session.open({ ...context, clock });
      const arrived = new Subject<Delivery>();
      const ready: Delivery[] = [];
      const forStages = createContext({ clock });
      stages()
        .reduce((stream, stage) => stage.withContext(forStages)(stream), arrived.asObservable())
        .subscribe((delivery) => ready.push(delivery));
      async function* deliveries() {
        for await (const delivery of opened.deliveries) {
          arrived.next(delivery);
          yield* ready.splice(0);
        }
      }
      return {
        identity: opened.identity,
        headTs: opened.headTs,
        deliveries: deliveries(),
        confirm: (checkpointTs) => opened.confirm(checkpointTs),
        status: () => opened.status(),
        close: () => opened.close(),
      };
    },
  };
}

/**
 * The log of an event service that holds what the suite commits to tables `a` and `b`. The service's own commit goes to its third table, which the stages leave out:
 * that is what gives the transaction its commitTs.
 */
class SuiteLog {
  // With this for every lot it picks the last table, and changes one row there.
  readonly service = new SimEventService({ random: () => 0.9, pipeline: 'suite', syncpoints: false });

  constructor() {
    for (const name of ['a', 'b'] as const) {
      const own = this.#of(name);
      const { dispatcher, tableId, table } = own;
      own.table = defineTable({ ...suiteTable(name), dispatcher, tableId, version: table.version });
      own.log[0] = { kind: 'ddl', commitTs: table.version, ordinal: 0, table: own.table, query: '' };
    }
  }

  commitElsewhere(): void {
    this.service.commit();
    this.service.resolve();
  }

  /** Behind a TRUNCATE nothing more stands at its commitTs: what follows takes the next. */
  commit(changes: readonly SourceChange[]): void {
    const part: SourceChange[] = [];
    for (const change of changes) {
      part.push(change);
      if (change.op === 'truncate') this.#commitPart(part.splice(0));
    }
    if (part.length > 0) this.#commitPart(part);
  }

  #commitPart(changes: readonly SourceChange[]): void {
    this.service.commit();
    const own = this.service.tables.at(-1)!.pending.at(-1)!;
    for (const name of ['a', 'b'] as const) {
      const to = this.#of(name);
      const rows = changes.flatMap((change) => (change.table === name ? this.#rowChange(change) : []));
      const startTs = own.kind === 'dml' ? own.startTs : 0n;
      const { commitTs } = own;
      if (rows.length > 0) to.pending.push({ kind: 'dml', commitTs, startTs, table: to.table, changes: rows });
      if (!changes.some(({ op, table }) => op === 'truncate' && table === name)) continue;
      to.table = defineTable({ ...to.table, version: commitTs });
      to.pending.push({ kind: 'truncate', commitTs, table: to.table, query: `TRUNCATE TABLE ${name}` });
    }
    this.service.resolve();
  }

  #rowChange(change: SourceChange): ServiceRowChange[] {
    if (change.op === 'truncate') return [];
    const { op, id } = change;
    if (op === 'delete') return [{ op: 'D', old: { id }, data: null }];
    return [{ op: op === 'insert' ? 'I' : 'U', old: null, data: { id, note: change.note } }];
  }

  #of(name: 'a' | 'b'): ServiceTable {
    return this.service.tables[name === 'a' ? 0 : 1]!;
  }
}
