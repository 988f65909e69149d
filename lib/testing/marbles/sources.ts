import { Observable, type SchedulerLike, Subject } from 'rxjs';
import { MillraceError } from '../../errors.ts';
import { TwoStageAck } from '../../events/index.ts';
import { type Diagram, parseDiagram } from './diagram.ts';
import { textOf } from './display.ts';
import { ItemMaker } from './item-maker.ts';
import type { Mark, RecordedStream } from './recording.ts';
import type { MarbleTables } from './tables.ts';

/** From when to when somebody was subscribed, in frames; `unsubscribedFrame` is Infinity while it lasts. */
export interface SubscriptionFrames {
  readonly subscribedFrame: number;
  readonly unsubscribedFrame: number;
}

/** A stream that a diagram describes. */
export interface MarbleStream<T> extends Observable<T> {
  /** Who was subscribed, in the order of their coming: for `expectSubscriptions`. */
  readonly subscriptions: readonly SubscriptionFrames[];
}

type Values = Readonly<Record<string, unknown>> | undefined;
type Show = ((value: never) => string) | undefined;

/** An ack of something that a source emitted. */
export interface AckRecord {
  readonly frame: number;
  readonly stage: 'enqueued' | 'flushed';
  /** The notation of what was acked, or what else a recording shows of it. */
  readonly text: string;
}

export interface SourceRecord {
  readonly values: Values;
  readonly isOfDeliveries: boolean;
  readonly acks: readonly AckRecord[];
  /** What is shown of a value that a letter of this source stands for. */
  textOf(value: unknown, letter: string | null): string;
}

/** The streams that a test has made of diagrams. */
export class Sources {
  readonly #scheduler: SchedulerLike;
  readonly #tables: MarbleTables;
  readonly #records = new Map<Observable<unknown>, SourceRecord & { readonly recorded: RecordedStream }>();
  #unstarted: (() => void)[] = [];

  constructor(scheduler: SchedulerLike, tables: MarbleTables) {
    this.#scheduler = scheduler;
    this.#tables = tables;
  }

  cold<T>(text: string, form: Form, values: Values, error: unknown, options?: Options): MarbleStream<T> {
    const player = this.#player<T>(parseDiagram(text), form, values, error, options?.show, 0);
    const stream = coldStream(this.#scheduler, player.play);
    this.#record(stream, player, options);
    return stream;
  }

  hot<T>(text: string, form: Form, values: Values, error: unknown, options?: Options): MarbleStream<T> {
    const diagram = parseDiagram(text, 'hot');
    const zero = diagram.marks.find(({ kind }) => kind === 'subscribe')?.frame ?? 0;
    const player = this.#player<T>(diagram, form, values, error, options?.show, zero);
    const { stream, start } = hotStream(this.#scheduler, player.play);
    this.#unstarted.push(start);
    this.#record(stream, player, options);
    return stream;
  }

  /** Begins the hot streams that have not begun. */
  start(): void {
    const starts = this.#unstarted;
    this.#unstarted = [];
    for (const start of starts) start();
  }

  of(stream: Observable<unknown>): SourceRecord {
    const record = this.#records.get(stream);
    if (record === undefined) {
      throw new MillraceError('MR_INVALID_OPTION', {
        option: 'source of expectAcks',
        value: 'another stream',
        bound: 'what events, hotEvents, cold or hot returned',
      });
    }
    return record;
  }

  recorded(): RecordedStream[] {
    return [...this.#records.values()].map(({ recorded }) => recorded);
  }

  #record(stream: MarbleStream<unknown>, player: Player<unknown>, options?: Options): void {
    const number = this.#records.size + 1;
    const label = options?.label ?? (number === 1 ? 'source' : `source ${number}`);
    this.#records.set(stream, { ...player.record, recorded: { role: 'source', label, marks: player.marks } });
  }

  #player<T>(diagram: Diagram, form: Form, values: Values, error: unknown, show: Show, zero: number): Player<T> {
    const acks: AckRecord[] = [];
    const isOfDeliveries = form === 'deliveries';
    const record: SourceRecord = { values, isOfDeliveries, acks, textOf: (value, letter) => textOf(value, letter, show) };
    const watched = new WeakSet<TwoStageAck>();
    const watch = (value: unknown, text: string) => {
      const ack = ackOf(value);
      if (ack === null || watched.has(ack)) return;
      watched.add(ack);
      ack.addPostEnqueue(() => acks.push({ frame: this.#scheduler.now(), stage: 'enqueued', text }));
      ack.addPostFlush(() => acks.push({ frame: this.#scheduler.now(), stage: 'flushed', text }));
    };
    const make = (): { emission: Emission<T>; mark: Mark }[] => {
      const maker = new ItemMaker(diagram, values, this.#tables);
      return diagram.marks.flatMap(({ item, kind, at, frame: written }) => {
        const frame = written - zero;
        if (kind === 'subscribe' || kind === 'unsubscribe') return [];
        if (item === null)
          return [{ emission: { frame, kind, value: (error === undefined ? 'error' : error) as T }, mark: { frame, kind } as Mark }];
        const value = isOfDeliveries ? maker.delivery(item, at) : maker.value(item, at);
        const text = record.textOf(value, item.is === 'letter' ? item.letter : null);
        watch(value, text);
        return [{ emission: { frame, kind: 'next' as const, value: value as T }, mark: { frame, kind: 'next' as const, text } }];
      });
    };
    // Made once at once, so that a diagram that makes no sense fails where it is written. Nobody hears what a hot stream did before frame 0.
    const marks = make().flatMap(({ mark }) => (mark.frame < 0 ? [] : [mark]));
    return { record, marks, play: () => make().map(({ emission }) => emission) };
  }
}

export type Form = 'deliveries' | 'values';

interface Options {
  readonly label?: string;
  readonly show?: (value: never) => string;
}

interface Player<T> {
  readonly record: SourceRecord;
  readonly marks: readonly Mark[];
  readonly play: () => readonly Emission<T>[];
}

function ackOf(value: unknown): TwoStageAck | null {
  return typeof value === 'object' && value !== null && 'ack' in value && value.ack instanceof TwoStageAck ? value.ack : null;
}

/** The marks of a subscription. */
export function marksOfSubscription({ subscribedFrame, unsubscribedFrame }: SubscriptionFrames): Mark[] {
  const marks: Mark[] = [{ frame: subscribedFrame, kind: 'subscribe' }];
  if (unsubscribedFrame !== Number.POSITIVE_INFINITY) marks.push({ frame: unsubscribedFrame, kind: 'unsubscribe' });
  return marks;
}

interface Emission<T> {
  readonly frame: number;
  readonly kind: 'next' | 'complete' | 'error';
  /** What is emitted, or the error. */
  readonly value: T;
}

/** A stream that plays anew for each subscription, from its frame on. */
function coldStream<T>(scheduler: SchedulerLike, play: () => readonly Emission<T>[]): MarbleStream<T> {
  const subscriptions: SubscriptionFrames[] = [];
  const stream = new Observable<T>((subscriber) => {
    subscriber.add(log(subscriptions, scheduler));
    for (const emission of play()) subscriber.add(scheduler.schedule(() => emit(emission, subscriber), emission.frame));
  });
  return Object.assign(stream, { subscriptions });
}

/** A stream that plays once, for whoever is subscribed; `start` begins it. */
function hotStream<T>(scheduler: SchedulerLike, play: () => readonly Emission<T>[]): { stream: MarbleStream<T>; start: () => void } {
  const subscriptions: SubscriptionFrames[] = [];
  const subject = new Subject<T>();
  const stream = new Observable<T>((subscriber) => {
    subscriber.add(log(subscriptions, scheduler));
    subscriber.add(subject.subscribe(subscriber));
  });
  const start = () => {
    for (const emission of play()) if (emission.frame >= 0) scheduler.schedule(() => emit(emission, subject), emission.frame);
  };
  return { stream: Object.assign(stream, { subscriptions }), start };
}

function log(subscriptions: SubscriptionFrames[], scheduler: SchedulerLike): () => void {
  const subscription = { subscribedFrame: scheduler.now(), unsubscribedFrame: Number.POSITIVE_INFINITY };
  subscriptions.push(subscription);
  return () => {
    subscription.unsubscribedFrame = scheduler.now();
  };
}

function emit<T>({ kind, value }: Emission<T>, observer: { next(value: T): void; error(error: unknown): void; complete(): void }): void {
  if (kind === 'next') observer.next(value);
  else if (kind === 'error') observer.error(value);
  else observer.complete();
}
