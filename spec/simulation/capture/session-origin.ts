import type { AckedEvent } from '../../../lib/events/index.ts';
import type { Source, Stage } from '../../../lib/index.ts';
import type { Simulation } from '../../../lib/testing/index.ts';
import {
  expectedOfLog,
  type ServiceTable,
  SimEventService,
  type SimSessionSource,
  simSession,
} from '../../../lib/testing/simulator/session/index.ts';
import { ExpectedTable } from './expected.ts';
import type { Origin, OriginChange, OriginRow } from './origin.ts';
import type { CaptureParts } from './parts.ts';
import type { Plan } from './plan.ts';

/** Beyond 2^53, as TiDB's are. */
const BEGINNING = 450_000_000_000_000_000n;

/** A simulated event service, of the kind that TiDB has: sessions with epochs, changes without numbers. */
export class SessionOrigin implements Origin {
  readonly source: Source;
  readonly tables: readonly ExpectedTable[];
  readonly mayRepeat = true;
  readonly troubles;
  readonly #sim: Simulation;
  readonly #plan: Plan;
  readonly #parts: CaptureParts;
  readonly #service: SimEventService;
  readonly #session: SimSessionSource;
  readonly #captured: readonly { readonly table: ServiceTable; readonly expected: ExpectedTable; next: number }[];

  constructor(sim: Simulation, plan: Plan, parts: CaptureParts) {
    this.#sim = sim;
    this.#plan = plan;
    this.#parts = parts;
    const random = () => sim.random();
    const service = new SimEventService({ random, pipeline: 'capture', beginningTs: BEGINNING });
    this.#service = service;
    const session = simSession({ service, sim, random, faults: plan.sessionFaults });
    this.#session = session;
    this.source = session;
    this.#captured = service.tables.map((table) => {
      const expected = new ExpectedTable(table.table.schema, table.table.name, ['id']);
      expected.begin(BEGINNING + 1n, 0);
      return { table, expected, next: 0 };
    });
    this.tables = this.#captured.map(({ expected }) => expected);
    this.troubles = [['moves a table', () => session.sessions.requestReset(sim.pick(service.tables).dispatcher, 'moved')]] as const;
  }

  stages(): Stage[] {
    const { filterEpoch, checkSequence, dedupeCommitTs } = this.#parts.ordering;
    const bind = (stage: Stage) => this.#session.bind(stage);
    return [bind(filterEpoch()), bind(checkSequence()), dedupeCommitTs({ ordinals: false }), this.#session.mergeMarks()];
  }

  live(): Promise<void> {
    const { changes, gapMs } = this.#plan;
    return this.#service.run(this.#sim.clock, { commits: Math.ceil(changes / 2.5), gapMs: gapMs / 2.5 });
  }

  filtered(): bigint {
    this.#service.resolve();
    return this.#service.resolvedTs;
  }

  calm(): void {
    this.#session.calm();
  }

  abandon(): void {}

  lose(): void {}

  /** An event of an epoch that is over may not pass (I9). */
  isStale({ dispatcher, epoch }: AckedEvent): boolean {
    return epoch !== this.#session.sessions.epochOf(dispatcher);
  }

  silencesOf(): number {
    return 0;
  }

  update(): void {
    for (const captured of this.#captured) {
      const { log } = captured.table;
      for (; captured.next < log.length; captured.next++) {
        const event = log[captured.next]!;
        if (event.kind === 'truncate') captured.expected.add(event.commitTs, event.ordinal, 0);
        else if (event.kind === 'dml') {
          for (let i = 0; i < event.changes.length; i++) captured.expected.add(event.commitTs, event.ordinal + i, 1);
        }
      }
    }
  }

  serverTs(): null {
    return null;
  }

  beginningTs(): bigint {
    return BEGINNING;
  }

  violation(): null {
    return null;
  }

  changesOf(expected: ExpectedTable): readonly OriginChange[] {
    return expectedOfLog(this.#tableOf(expected));
  }

  rowsOf(expected: ExpectedTable): readonly OriginRow[] {
    return [...this.#tableOf(expected).rows.values()];
  }

  #tableOf(expected: ExpectedTable): ServiceTable {
    return this.#captured.find((captured) => captured.expected === expected)!.table;
  }
}
