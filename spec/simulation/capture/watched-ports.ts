import { type Observable, tap } from 'rxjs';
import type { Delivery } from '../../../lib/events/index.ts';
import type { FlushReport, OpenSink, OpenSource, SourceStatus } from '../../../lib/index.ts';

// Classes, where a literal would be shorter: one that has a getter is given a hidden class of its own, which holds what the getter sees, a whole world, until
// V8 collects its old space.

/** An open source as it is; its confirmations are told. */
export class WatchedSource implements OpenSource {
  readonly hasOrdinals: boolean;
  readonly deliveries: AsyncIterable<Delivery>;
  readonly #opened: OpenSource;
  readonly #confirming: (checkpointTs: bigint) => void;

  /** @param confirming is called before the source is told. */
  constructor(opened: OpenSource, confirming: (checkpointTs: bigint) => void) {
    this.hasOrdinals = opened.hasOrdinals ?? false;
    this.deliveries = opened.deliveries;
    this.#opened = opened;
    this.#confirming = confirming;
  }

  get identity(): OpenSource['identity'] {
    return this.#opened.identity;
  }

  get headTs(): bigint {
    return this.#opened.headTs;
  }

  confirm(checkpointTs: bigint): void {
    this.#confirming(checkpointTs);
    this.#opened.confirm(checkpointTs);
  }

  status(): SourceStatus {
    return this.#opened.status();
  }

  close(): Promise<void> {
    return this.#opened.close();
  }
}

/** An open sink as it is; what is claimed and what arrives is told. */
export class WatchedSink implements OpenSink {
  readonly #opened: OpenSink;
  readonly #claimed: () => void;
  readonly #arrived: (delivery: Delivery) => void;

  /**
   * @param claimed is called when the sink has been claimed.
   * @param arrived is called with each delivery before it is written.
   */
  constructor(opened: OpenSink, claimed: () => void, arrived: (delivery: Delivery) => void) {
    this.#opened = opened;
    this.#claimed = claimed;
    this.#arrived = arrived;
  }

  get identity(): OpenSink['identity'] {
    return this.#opened.identity;
  }

  async claim(...args: Parameters<OpenSink['claim']>): Promise<void> {
    await this.#opened.claim(...args);
    this.#claimed();
  }

  write(deliveries: Observable<Delivery>): Observable<FlushReport> {
    return this.#opened.write(deliveries.pipe(tap(this.#arrived)));
  }

  publishCheckpoint(checkpointTs: bigint, final: boolean): Promise<void> {
    return this.#opened.publishCheckpoint(checkpointTs, final);
  }

  close(): Promise<void> {
    return this.#opened.close();
  }
}
