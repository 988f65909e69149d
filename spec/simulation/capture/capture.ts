import { isMillraceError, reasonOf } from '../../../lib/errors.ts';
import { compose } from '../../../lib/flow/index.ts';
import { definePipeline, fileCheckpoint, type PipelineDefinition, type Running, run, type Sink, type Stage } from '../../../lib/index.ts';
import { SimDisk, type SimNode, SimObjectStore, type Simulation } from '../../../lib/testing/index.ts';
import { filterTables } from '../../../operators/index.ts';
import { composeSink, type SINK_OPERATORS } from '../../../pipelines/cloud-storage-sink/cloud-storage.ts';
import { Monitor } from './monitor.ts';
import type { Origin } from './origin.ts';
import { type CaptureParts, HONEST } from './parts.ts';
import { type Plan, planOf } from './plan.ts';
import { PostgresOrigin } from './postgres-origin.ts';
import { readBack, readRows } from './read-back.ts';
import { RULES } from './rules.ts';
import { SessionOrigin } from './session-origin.ts';
import { SimCheckpoints } from './sim-checkpoints.ts';
import { SpoolWatch } from './spool-watch.ts';
import { StallingStore } from './stalling-store.ts';
import { WatchedStore } from './watched-store.ts';

/**
 * A capture from end to end on one node under every fault: source → operators → cloud storage sink → checkpoint, run again whenever it ends. Then calm: everything
 * committed must come, and readers must see it once, in order.
 */
export async function capture(
  sim: Simulation,
  parts: CaptureParts = HONEST,
  plan: Partial<Plan> = {},
  meddle: (world: Meddling) => void = () => {},
): Promise<void> {
  const world = new CaptureWorld(sim, { ...planOf(sim), ...plan }, parts);
  meddle(world);
  world.start();
  await world.live();
}

/** What whoever meddles with a capture may see of it. */
export interface Meddling {
  readonly node: SimNode;
  readonly target: WatchedStore;
}

const PIPELINE = 'capture';

class CaptureWorld implements Meddling {
  readonly node: SimNode;
  readonly target: WatchedStore;
  readonly #sim: Simulation;
  readonly #plan: Plan;
  readonly #parts: CaptureParts;
  readonly #origin: Origin;
  readonly #disk: SimDisk;
  readonly #checkpoints: SimCheckpoints;
  readonly #stalling: StallingStore;
  readonly #store: SimObjectStore;
  readonly #monitor: Monitor;
  readonly #spool: SpoolWatch | null;
  #running: Running | null = null;
  #isOver = false;
  #onDown = () => {};
  /** The slot is gone, and so many runs have said so. */
  #isLost = false;
  #lostFailures = 0;

  constructor(sim: Simulation, plan: Plan, parts: CaptureParts) {
    this.#sim = sim;
    this.#plan = plan;
    this.#parts = parts;
    this.#origin = plan.origin === 'postgres' ? new PostgresOrigin(sim, plan, parts) : new SessionOrigin(sim, plan, parts);
    this.node = sim.node('node', { faults: plan.nodeFaults, restartAfterMs: [0, 500] });
    // Sources without numbers repeat; and a clock that jumps by days takes a run away from the folders that it would look into.
    const isOnce = !this.#origin.mayRepeat && (plan.sink.dateSeparator === 'none' || plan.nodeFaults.skewMs === 0);
    this.#monitor = new Monitor(sim, this.node, this.#origin, { isOnce, isInOrder: plan.spool === null });
    this.#disk = new SimDisk(sim, { node: this.node, faults: plan.diskFaults });
    const broken = this.#monitor.broken.bind(this.#monitor);
    this.#spool = plan.spool === null ? null : new SpoolWatch(sim, this.node, plan.spool, broken);
    this.#checkpoints = new SimCheckpoints(sim, plan.diskFaults.fails ?? 0);
    this.target = new WatchedStore(this.#monitor);
    this.#stalling = new StallingStore(sim, this.target);
    this.#store = new SimObjectStore(sim, { latencyMs: plan.storeLatencyMs, faults: plan.storeFaults, objects: this.#stalling });
  }

  start(): void {
    this.#sim.onCalm(() => this.#origin.calm());
    const down = () => {
      this.#origin.abandon(this.node.clock);
      this.#onDown();
      if (this.#sim.chance(this.#plan.reads)) void this.#readBack();
    };
    this.node.attach({ crash: down, kill: down });
    this.node.run(() => this.#supervise());
    this.#trouble();
  }

  async live(): Promise<void> {
    const sim = this.#sim;
    const origin = this.#origin;
    const monitor = this.#monitor;
    const stalled = this.#stall();
    await origin.live();
    await stalled;
    if (this.#plan.losesSlot && this.#plan.origin === 'postgres' && monitor.storedTs !== null) {
      await this.#loseSlot();
      return;
    }
    sim.calm();
    await sim.eventually(RULES.liveness, () => this.#hasAll(), 180_000);
    let endTs = 0n;
    for (let i = 0; i < 3; i++) endTs = origin.filtered();
    const isPassed = (ts: bigint | null) => ts !== null && ts >= endTs;
    await sim.eventually(RULES.filtered, () => isPassed(monitor.confirmedTs) && isPassed(origin.serverTs() ?? endTs), 60_000);
    await this.#end();
    if (monitor.publishedTs !== monitor.storedTs) {
      monitor.broken('liveness', `the target's last checkpoint is ${monitor.publishedTs}, and ${monitor.storedTs} is stored`);
    }
    await this.#spool?.ended(PIPELINE);
    await this.#readBack();
    // Reading everything once more costs half as much as the whole run.
    if (sim.chance(this.#plan.rebuilds)) await readRows(this.#readers());
  }

  /** Stops the run; if the node goes down meanwhile, the one that begins after that, when it has told the target where it begins. */
  async #end(): Promise<void> {
    const running = this.#running;
    let isDown = false;
    const down = new Promise<void>((resolve) => {
      // By a name: assigned as it is written it would go into V8's old space, and hold this world there.
      const onDown = () => {
        isDown = true;
        resolve();
      };
      this.#onDown = onDown;
    });
    this.#isOver = true;
    await Promise.race([running?.stop(), down]);
    if (!isDown) return;
    this.#isOver = false;
    const monitor = this.#monitor;
    const { claims } = monitor;
    await this.#sim.eventually(RULES.liveness, () => monitor.claims > claims && monitor.publishedTs === monitor.storedTs, 60_000);
    await this.#end();
  }

  /** I6: what cannot be read again is a loud failure, for as long as it lasts, and never a gap. */
  async #loseSlot(): Promise<void> {
    const sim = this.#sim;
    sim.noteFault('server', 'loses the slot');
    this.#origin.lose();
    this.#isLost = true;
    sim.calm();
    await sim.eventually(RULES.readable, () => this.#lostFailures >= 2, 120_000);
    this.#isOver = true;
    await this.#readBack();
  }

  async #stall(): Promise<void> {
    const { clock } = this.#sim;
    const { storeStallMs } = this.#plan;
    if (storeStallMs === 0) return;
    await clock.sleep(this.#sim.between(0, 2000));
    this.#stalling.stall(storeStallMs);
    await clock.sleep(storeStallMs);
  }

  /** Runs the pipeline whenever it does not run. */
  async #supervise(): Promise<void> {
    const sim = this.#sim;
    const { clock } = this.node;
    const definition = this.#definition();
    while (!this.#isOver) {
      const running = run(definition, { clock, maxBytesInFlight: this.#plan.maxBytesInFlight });
      this.#running = running;
      let cancel = () => {};
      if (sim.fault(this.#plan.stops)) {
        const drain = sim.chance(0.5);
        cancel = clock.after(sim.between(50, 3000), () => {
          if (sim.isCalm) return;
          sim.note('supervisor', `stops the run, ${drain ? 'drained' : 'at once'}`);
          running.stop({ drain }).catch(() => {});
        });
      }
      try {
        await running.done;
      } catch (error) {
        this.#failed(error);
      }
      cancel();
      await clock.sleep(sim.between(10, 100));
    }
  }

  #failed(error: unknown): void {
    const code = isMillraceError(error) ? error.code : 'none';
    this.#sim.note('supervisor', `the run failed: ${reasonOf(error)}`);
    if (this.#isLost && LOST.has(code)) this.#lostFailures++;
    else if (!TRANSIENT.has(code) && this.#spool?.explains(code) !== true) this.#monitor.broken('errors', reasonOf(error));
  }

  #definition(): PipelineDefinition {
    const parts = this.#parts;
    const monitor = this.#monitor;
    const { dropped, checkpointOnDisk } = this.#plan;
    const port = this.node.port.bind(this.node);
    const stages: Stage[] = [...this.#origin.stages(), ...(dropped === null ? [] : [filterTables(['*.*', `!${dropped}`])])];
    const stored = checkpointOnDisk ? fileCheckpoint('/state', { disk: parts.disk(port(this.#disk)) }) : port(this.#checkpoints);
    return definePipeline({
      name: PIPELINE,
      source: parts.source(monitor.source(this.#origin.source)),
      stages: parts.stages(stages),
      sink: parts.sink(monitor.sink(this.#sink(port))),
      checkpoint: parts.checkpoint(monitor.checkpoint(stored)),
    });
  }

  #sink(port: <T extends object>(target: T) => T): Sink {
    const { sink, memory, spool, draftBytesMin } = this.#plan;
    const store = this.#parts.store(port(this.#store));
    // For some rows only, so that acks are held.
    const limits = { highBytes: memory.high, lowBytes: memory.low };
    const drafts = draftBytesMin === null ? {} : { draftBytesMin };
    if (this.#spool === null || spool === null) return composeSink({ ...sink, store }, this.#operators(), { limits, ...drafts });
    const { disk, options } = this.#spool;
    const machine = { disk: this.#parts.spoolDisk(port(disk)), limits: { ...limits, segmentBytes: spool.segmentBytes }, ...drafts };
    return this.#spool.sink(composeSink({ ...sink, ...options, store }, this.#operators(), machine));
  }

  /** The sink's operators, with the acks looked at. */
  #operators(): typeof SINK_OPERATORS {
    const { operators } = this.#parts;
    return {
      ...operators,
      trackProgress: () => compose('trackProgress', operators.trackProgress(), this.#monitor.ackWatch()),
      ...(this.#spool !== null && { spoolRows: this.#spool.ackWatch(operators.spoolRows) }),
    };
  }

  /** Now and then something befalls the server. */
  #trouble(): void {
    const sim = this.#sim;
    const { serverTroubleEveryMs: everyMs } = this.#plan;
    if (everyMs === 0) return;
    sim.clock.after(sim.between(1, 2 * everyMs), () => {
      if (sim.isCalm || this.#isOver) return;
      const [what, happens] = sim.pick(this.#origin.troubles);
      sim.noteFault('server', what);
      happens();
      this.#trouble();
    });
  }

  #hasAll(): boolean {
    this.#monitor.update();
    return this.#origin.tables.every((table) => table.from !== null && table.firstMissing === table.changes.length);
  }

  #readers() {
    return { store: this.target, origin: this.#origin, broken: this.#monitor.broken.bind(this.#monitor) };
  }

  #readBack(): Promise<void> {
    this.#monitor.update();
    return readBack(this.#readers());
  }
}

/** What says that changes can be read no more. */
const LOST: ReadonlySet<string> = new Set(['MR_SLOT_GONE', 'MR_SLOT_INVALIDATED']);

/** What faults explain; the run is begun again. */
const TRANSIENT: ReadonlySet<string> = new Set([
  'MR_SINK_WRITE_FAILED',
  'MR_SINK_FAILED',
  'MR_SOURCE_FAILED',
  'MR_CHECKPOINT_FAILED',
  'MR_CHECKPOINT_UNWRITABLE',
  'MR_STORE_FAILED',
  'MR_STORE_UNAVAILABLE',
  'MR_CONNECTION_LOST',
  'MR_SOURCE_UNREACHABLE',
  'MR_SERVER_ERROR',
  'MR_SLOT_ACTIVE',
  'MR_FOREIGN_FILE',
  // The claim of a run that was given up came late, behind that of the next.
  'MR_STALE_EPOCH',
  'MR_DRAIN_TIMEOUT',
  // A run that ended while its store did not answer still holds its place.
  'MR_ALREADY_RUNNING',
]);
