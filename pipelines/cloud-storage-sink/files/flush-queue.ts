/**
 * One piece of work of a lane; lanes run beside each other, the jobs of one lane start strictly in order. One that calls `handOn` lets the next one start before it
 * has ended, if that is one that may.
 */
export type Job = (handOn: () => void) => Promise<void>;

/**
 * Runs jobs: those of one lane one after another, those of different lanes beside each other, at most `parallel` at once. A slow lane occupies one
 * place, two where jobs hand on and others are free, and holds up nobody else.
 *
 * The first job that fails stops the queue: nothing further is started, `onError` hears the error once. Whoever fills the queue bounds it.
 */
export class FlushQueue {
  readonly #parallel: number;
  readonly #onError: (error: unknown) => void;
  readonly #lanes = new Map<string, Lane>();
  /** Lanes that have a job to start, in the order in which they became so. */
  readonly #ready = new Set<Lane>();
  #running = 0;
  #isStopped = false;
  #idle: (() => void)[] = [];

  constructor(parallel: number, onError: (error: unknown) => void) {
    this.#parallel = parallel;
    this.#onError = onError;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Whether a lane has a job that runs or waits. */
  isBusy(lane: string): boolean {
    return this.#lanes.has(lane);
  }

  push(lane: string, job: Job): void {
    this.#add(lane, { run: job, mayOverlap: false });
  }

  /** A job that may start when the one before it has handed on. */
  pushOverlapping(lane: string, job: Job): void {
    this.#add(lane, { run: job, mayOverlap: true });
  }

  /** Runs `job` when everything pushed before, in all lanes, is done. Jobs pushed later do not wait for it. */
  pushBehindAll(job: () => Promise<void>): void {
    if (this.#isStopped) return;
    let left = this.#lanes.size;
    if (left === 0) this.push(ALL_LANES, job);
    for (const lane of [...this.#lanes.keys()]) {
      this.push(lane, async () => {
        if (--left === 0) await job();
      });
    }
  }

  /** Starts nothing further; what runs goes on to its end. */
  stop(): void {
    this.#isStopped = true;
    this.#lanes.clear();
    this.#ready.clear();
    if (this.#running === 0) this.#tellIdle();
  }

  /** Resolves when nothing runs and nothing waits. */
  idle(): Promise<void> {
    if (this.#running === 0 && this.#ready.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #add(lane: string, job: Waiting): void {
    if (this.#isStopped) return;
    let found = this.#lanes.get(lane);
    if (found === undefined) {
      found = { key: lane, jobs: new Map(), next: 0, last: 0, running: 0, hasHandedOn: false };
      this.#lanes.set(lane, found);
    }
    found.jobs.set(found.last++, job);
    this.#look(found);
    this.#start();
  }

  /** The lane's next job starts when nothing of the lane runs, or beside one that has handed on. */
  #look(lane: Lane): void {
    const job = lane.jobs.get(lane.next);
    if (job === undefined || this.#isStopped) return;
    if (lane.running === 0 || (lane.running === 1 && lane.hasHandedOn && job.mayOverlap)) this.#ready.add(lane);
  }

  #start(): void {
    for (const lane of this.#ready) {
      if (this.#running >= this.#parallel) return;
      // The last place is for a lane that has none.
      if (lane.running > 0 && this.#running + 1 >= this.#parallel) continue;
      this.#ready.delete(lane);
      this.#run(lane);
    }
  }

  #run(lane: Lane): void {
    const number = lane.next++;
    const job = lane.jobs.get(number)!;
    lane.jobs.delete(number);
    lane.running++;
    lane.hasHandedOn = false;
    this.#running++;
    const handOn = () => {
      if (this.#isStopped || lane.next !== number + 1) return;
      lane.hasHandedOn = true;
      this.#look(lane);
      this.#start();
    };
    job.run(handOn).then(
      () => this.#ended(lane),
      (error: unknown) => this.#failed(error),
    );
  }

  #ended(lane: Lane): void {
    this.#running--;
    lane.running--;
    if (this.#isStopped) {
      if (this.#running === 0) this.#tellIdle();
      return;
    }
    if (lane.jobs.size > 0) this.#look(lane);
    else if (lane.running === 0) this.#lanes.delete(lane.key);
    this.#start();
    if (this.#running === 0 && this.#ready.size === 0) this.#tellIdle();
  }

  #failed(error: unknown): void {
    this.#running--;
    if (this.#isStopped) {
      if (this.#running === 0) this.#tellIdle();
      return;
    }
    this.stop();
    this.#onError(error);
  }

  #tellIdle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}

/** The lane of a job that waits for all lanes when none has anything to do. */
const ALL_LANES = '';

interface Lane {
  readonly key: string;
  /** Waiting jobs by number: a queue whose both ends are cheap. */
  readonly jobs: Map<number, Waiting>;
  next: number;
  last: number;
  running: number;
  /** Whether the last one that started has handed on. */
  hasHandedOn: boolean;
}

interface Waiting {
  readonly run: Job;
  readonly mayOverlap: boolean;
}
