import { describe, expect, it } from '@jest/globals';
import { type Delivery, isAckedEvent, rowsOf } from '../../../../../lib/events/index.ts';
import { createContext, Metrics, noSystemEvents, pump, type Stage, silentLogger } from '../../../../../lib/flow/index.ts';
import { type Simulation, simulate, type TraceLine } from '../../../../../lib/testing/simulator/index.ts';
import {
  expectedOfLog,
  SimEventService,
  type SimSessionFaults,
  type SimSessionSource,
  simSession,
} from '../../../../../lib/testing/simulator/session/index.ts';
import { checkSequence, dedupeCommitTs, filterEpoch } from '../../../../../operators/index.ts';

const FAULTS: SimSessionFaults = { loses: 0.05, repeats: 0.03, drops: 0.02, delays: 0.05 };

interface Options {
  readonly seed: number;
  readonly faults?: SimSessionFaults;
  /** Default: those that put the events in order. */
  readonly stages?: (source: SimSessionSource) => Stage[];
  readonly restarts?: boolean;
}

describe('simSession', () => {
  it('gives what was committed in order when nothing goes wrong', async () => {
    for (let seed = 1; seed <= 5; seed++) expect(await misread({ seed })).toEqual([]);
  });

  it('is put in order by the stages of a collector, over losses, repetitions, resets and restarts', async () => {
    for (let seed = 1; seed <= 40; seed++) expect(await misread({ seed, faults: FAULTS, restarts: seed % 2 === 0 })).toEqual([]);
  }, 300_000);

  it('tells the trace what goes wrong, until the simulation is calm', async () => {
    const { lines } = await read({ seed: 5, faults: FAULTS });
    const calmAt = lines.findIndex(({ what }) => what === 'calm');
    const told = lines.map(({ who, what }) => (who === 'session' ? what : ''));
    for (const how of ['is lost', 'comes twice', 'is dropped', 'is late']) {
      expect(told.slice(0, calmAt)).toContainEqual(expect.stringMatching(new RegExp(`^\\w+ \\d+\\.\\d+ of .* ${how}$`)));
    }
    expect(told.slice(calmAt).join('')).toBe('');
  });

  it('is the same run for the same seed', async () => {
    const hash = async () => (await read({ seed: 5, faults: FAULTS, restarts: true })).hash;
    expect(await hash()).toBe(await hash());
  });

  it.each<[string, (source: SimSessionSource) => Stage[]]>([
    ['filterEpoch', (source) => [source.bind(checkSequence()), dedupeCommitTs({ ordinals: false })]],
    ['checkSequence', (source) => [source.bind(filterEpoch()), dedupeCommitTs({ ordinals: false })]],
    ['dedupeCommitTs', (source) => [source.bind(filterEpoch()), source.bind(checkSequence())]],
  ])('is misread without %s, within 40 seeds', async (_name, stages) => {
    let found = 0;
    for (let seed = 1; seed <= 40 && found === 0; seed++) found += (await misread({ seed, faults: FAULTS, stages })).length;
    expect(found).toBeGreaterThan(0);
  });
});

function inOrder(source: SimSessionSource): Stage[] {
  return [source.bind(filterEpoch()), source.bind(checkSequence()), dedupeCommitTs({ ordinals: false })];
}

/** What a reader that keeps, by table, places in ascending order sees, against the log; empty when it is the same. */
async function misread(options: Options): Promise<string[]> {
  return (await read(options)).found;
}

async function read({
  seed,
  faults = {},
  stages = inOrder,
  restarts = false,
}: Options): Promise<{ found: string[]; hash: string; lines: TraceLine[] }> {
  const found: string[] = [];
  const { hash, trace } = await simulate({
    seed,
    maxMs: 3_600_000,
    world: async (sim) => {
      const service = new SimEventService({ random: () => sim.random(), pipeline: 'p' });
      const source = simSession({ service, sim, random: () => sim.random(), faults });
      const reader = new LogReader(sim, source, found);
      const node = sim.node('collector', restarts ? { restartAfterMs: [0, 100], faults: { killEveryMs: 400 } } : {});
      node.run(async ({ clock, generation }) => {
        reader.mayRepeat = generation > 1;
        const opened = await source.open({
          ...{
            pipeline: 'p',
            clock,
            logger: silentLogger,
            metrics: new Metrics(),
            events: noSystemEvents,
            targetIdentity: null,
            state: null,
          },
          ...{ checkpointTs: reader.checkpointTs, signal: new AbortController().signal, saveState: async () => {} },
        });
        const context = createContext({ clock });
        const ordered = [...stages(source), source.mergeMarks()].reduce(
          (stream, stage) => stage.withContext(context)(stream),
          pump(opened.deliveries),
        );
        ordered.subscribe((delivery) => reader.see(delivery, (ts) => node.isUp && opened.confirm(ts)));
      });
      for (let part = 0; part < 6; part++) {
        await service.run(sim.clock, { commits: 20 });
        // The service may be changed while all goes well: then an epoch ends with events of it in flight.
        if (faults.loses !== undefined) source.sessions.requestReset(sim.pick(service.tables).dispatcher, 'moved');
      }
      sim.calm();
      node.restart();
      let waited = 0;
      while (reader.checkpointTs < service.resolvedTs && waited++ < 100) await sim.clock.sleep(200);
      if (reader.checkpointTs < service.resolvedTs) found.push('not everything came');
      for (const table of service.tables) {
        const expected = expectedOfLog(table).map(({ commitTs, ordinal, op, data, version }) =>
          textOf(commitTs, ordinal, op, data, version),
        );
        const seen = reader.seen.get(table.tableId) ?? [];
        const at = expected.findIndex((text, index) => text !== seen[index]);
        if (at >= 0 || seen.length !== expected.length) found.push(`${table.tableId} at ${at}: ${seen[at]} instead of ${expected[at]}`);
      }
    },
  });
  return { found, hash, lines: trace.lines() };
}

/** Keeps what stands behind the last place of its table; places that come again are a repetition. */
class LogReader {
  checkpointTs = 100n;
  readonly seen = new Map<number, string[]>();
  readonly #last = new Map<number, string>();
  readonly #sim: Simulation;
  readonly #source: SimSessionSource;
  readonly #found: string[];

  constructor(sim: Simulation, source: SimSessionSource, found: string[]) {
    this.#sim = sim;
    this.#source = source;
    this.#found = found;
  }

  see(delivery: Delivery, confirm: (checkpointTs: bigint) => void): void {
    for (const event of delivery.events) {
      this.#sim.note('reader', event.type);
      if (isAckedEvent(event) && event.epoch !== this.#source.sessions.epochOf(event.dispatcher)) {
        this.#found.push(`I9: ${event.type} of epoch ${event.epoch} was passed on`);
      }
      if (event.type === 'dml') {
        let index = 0;
        for (const row of rowsOf(event.rows)) {
          const { commitTs, ordinal } = event.rows.positionOf(index++);
          const op = row.op === 'insert' ? 'I' : row.op === 'update' ? 'U' : 'D';
          const data = op === 'D' ? null : Object.fromEntries(event.rows.table.columns.map(({ name }) => [name, row.get(name) ?? null]));
          this.#add(event.rows.table.tableId, commitTs, ordinal, textOf(commitTs, ordinal, op, data, event.rows.table.version));
        }
      } else if (event.type === 'truncate') {
        const { commitTs, ordinal } = event.position;
        this.#add(event.table.tableId, commitTs, ordinal, textOf(commitTs, ordinal, 'T', null, event.table.version));
      } else if (event.type === 'resolved' && event.commitTs > this.checkpointTs) {
        this.checkpointTs = event.commitTs;
        confirm(event.commitTs);
      }
      if (isAckedEvent(event)) event.ack.postFlush();
    }
    delivery.ack.postFlush();
  }

  #add(tableId: number, commitTs: bigint, ordinal: number, text: string): void {
    const place = `${String(commitTs).padStart(20, '0')} ${String(ordinal).padStart(10, '0')}`;
    const last = this.#last.get(tableId) ?? '';
    if (place <= last) {
      // Within a run nothing comes again but what shares the last commitTs.
      if (place.slice(0, 20) < last.slice(0, 20) && !this.mayRepeat) this.#found.push(`${tableId}: ${text} came again`);
      return;
    }
    this.#last.set(tableId, place);
    const seen = this.seen.get(tableId) ?? [];
    seen.push(text);
    this.seen.set(tableId, seen);
  }

  /** A restart has no memory of what was passed on. */
  mayRepeat = false;
}

function textOf(commitTs: bigint, ordinal: number, op: string, data: Record<string, string | null> | null, version: bigint): string {
  return `${commitTs}/${ordinal} ${op} ${JSON.stringify(data === null ? null : Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1)))} v${version}`;
}
