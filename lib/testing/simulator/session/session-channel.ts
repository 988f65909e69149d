import {
  type ChangeEvent,
  type DispatcherId,
  ddlEvent,
  dmlEvent,
  type RowBlock,
  RowBlockWriter,
  resolvedEvent,
  syncpointEvent,
  truncateEvent,
} from '../../../events/index.ts';
import type { Clock } from '../../../flow/index.ts';
import type { ServiceEvent, ServiceTable, SimEventService } from './event-service.ts';

/** What goes wrong with a message from the service, until `calm`. Chances are from 0 up to 1; default none. */
export interface SimSessionFaults {
  readonly loses?: number;
  readonly repeats?: number;
  /** Memory control of the collector drops it. */
  readonly drops?: number;
  /** It, and all behind it, take up to `delayMs` longer (default 200). */
  readonly delays?: number;
  readonly delayMs?: number;
}

export interface ChannelOptions {
  readonly service: SimEventService;
  /** What arrives, arrives on it. */
  readonly clock: Clock;
  readonly random: () => number;
  faults(): SimSessionFaults;
  tellFault(what: string): void;
  onEvent(event: ChangeEvent): void;
}

/**
 * The service's end of the sessions of one collector: numbers what it sends, by dispatcher and epoch (spec event-collector §4.4), over a channel that keeps the
 * order and may lose and repeat.
 */
export class SessionChannel {
  readonly #options: ChannelOptions;
  readonly #streams = new Map<DispatcherId, Stream>();
  readonly #forget: () => void;
  #arrivesAtMs = Number.NEGATIVE_INFINITY;
  /** Sent and not there yet. */
  readonly #underway: ChangeEvent[] = [];
  #isClosed = false;

  constructor(options: ChannelOptions) {
    this.#options = options;
    for (const table of options.service.tables) this.#streams.set(table.dispatcher, { table, epoch: 0n, seq: 0n, next: 0 });
    this.#forget = options.service.onAnnounce(() => {
      for (const stream of this.#streams.values()) this.#serve(stream);
    });
  }

  /** The service can serve all of them. */
  register(): void {
    for (const dispatcher of this.#streams.keys()) this.#send({ type: 'ready', dispatcher, epoch: 0n, seq: 0n });
  }

  /** A request of the collector: it is under way for a while. The highest epoch wins. */
  reset(dispatcher: DispatcherId, epoch: bigint, resetTs: bigint): void {
    const { clock, random, service } = this.#options;
    clock.after(Math.floor(random() * 20), () => {
      const stream = this.#streams.get(dispatcher)!;
      if (this.#isClosed || epoch <= stream.epoch) return;
      stream.epoch = epoch;
      stream.seq = 1n;
      const { log } = stream.table;
      const next = log.findIndex(({ commitTs }) => commitTs > resetTs);
      stream.next = next < 0 ? log.length : next;
      this.#send({ type: 'handshake', dispatcher, epoch, seq: 1n, commitTs: resetTs, table: service.tableAt(stream.table, resetTs) });
      this.#serve(stream);
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#forget();
  }

  #serve(stream: Stream): void {
    if (stream.epoch === 0n || this.#isClosed) return;
    const { epoch } = stream;
    const { log, dispatcher } = stream.table;
    while (stream.next < log.length)
      this.#send(eventOf(log[stream.next++]!, dispatcher, { epoch, seq: ++stream.seq }, this.#options.service.beginningTs));
    this.#send(resolvedEvent(this.#options.service.resolvedTs, 0n, dispatcher, { epoch, seq: stream.seq }));
  }

  #send(event: ChangeEvent): void {
    const { clock, random } = this.#options;
    const { loses, repeats, drops, delays, delayMs = 200 } = this.#options.faults();
    const meets = (chance: number | undefined, what: string) => {
      if (chance === undefined || chance <= 0 || random() >= chance) return false;
      this.#options.tellFault(`${event.type} ${event.epoch}.${event.seq} of ${event.dispatcher} ${what}`);
      return true;
    };
    if (event.type !== 'ready' && meets(loses, 'is lost')) return;
    const latencyMs = Math.floor(random() * 3) + (meets(delays, 'is late') ? Math.floor(random() * delayMs) : 0);
    this.#arrivesAtMs = Math.max(this.#arrivesAtMs, clock.now() + latencyMs);
    const isData = event.type === 'dml' || event.type === 'ddl' || event.type === 'truncate' || event.type === 'syncpoint';
    const arrives = isData && meets(drops, 'is dropped') ? dropOf(event) : event;
    const times = meets(repeats, 'comes twice') ? 2 : 1;
    for (let left = times; left > 0; left--) this.#underway.push(arrives);
    // The head, not this one: timers of a real clock can overtake each other.
    clock.after(this.#arrivesAtMs - clock.now(), () => {
      for (let left = times; left > 0 && !this.#isClosed; left--) this.#options.onEvent(this.#underway.shift()!);
    });
  }
}

interface Stream {
  readonly table: ServiceTable;
  epoch: bigint;
  /** Of the last that was sent. */
  seq: bigint;
  next: number;
}

function eventOf(event: ServiceEvent, dispatcher: DispatcherId, session: { epoch: bigint; seq: bigint }, beginningTs: bigint): ChangeEvent {
  if (event.kind === 'syncpoint') return syncpointEvent(event.commitTs, dispatcher, session);
  const { commitTs, table, ordinal } = event;
  const commitTimeUs = (commitTs - beginningTs) * 1000n;
  if (event.kind !== 'dml') {
    const { query } = event;
    const place = { position: { commitTs, ordinal }, commitTimeUs, table, query };
    return event.kind === 'truncate'
      ? truncateEvent(place, session)
      : ddlEvent({ ...place, action: query === '' ? 0 : ADD_COLUMN }, session);
  }
  return dmlEvent(rowsOf(event, commitTimeUs), session);
}

/** Blocks never change: what a reset sends again is the same. */
function rowsOf(event: ServiceEvent & { readonly kind: 'dml' }, commitTimeUs: bigint): RowBlock {
  const known = blocks.get(event);
  if (known !== undefined) return known;
  const writer = new RowBlockWriter(event.table).beginTransaction(event.commitTs, commitTimeUs, event.ordinal);
  for (const { op, old, data } of event.changes) {
    if (op === 'I') writer.insert(data!);
    else if (op === 'U') writer.update(old, data!);
    else writer.delete(old!);
  }
  const rows = writer.build();
  blocks.set(event, rows);
  return rows;
}

const blocks = new WeakMap<ServiceEvent, RowBlock>();

function dropOf(event: ChangeEvent): ChangeEvent {
  const { dispatcher, epoch, seq } = event;
  return { type: 'drop', dispatcher, epoch, seq: 0n, droppedSeq: seq, droppedCommitTs: 0n };
}

const ADD_COLUMN = 5;
