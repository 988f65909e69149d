import { Observable, type SchedulerLike, Subject } from 'rxjs';
import type { Mark } from './recording.ts';

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

export interface Emission<T> {
  readonly frame: number;
  readonly kind: 'next' | 'complete' | 'error';
  /** What is emitted, or the error. */
  readonly value: T;
}

/** A stream that plays anew for each subscription, from its frame on. */
export function coldStream<T>(scheduler: SchedulerLike, play: () => readonly Emission<T>[]): MarbleStream<T> {
  const subscriptions: SubscriptionFrames[] = [];
  const stream = new Observable<T>((subscriber) => {
    subscriber.add(log(subscriptions, scheduler));
    for (const emission of play()) subscriber.add(scheduler.schedule(() => emit(emission, subscriber), emission.frame));
  });
  return Object.assign(stream, { subscriptions });
}

/** A stream that plays once, for whoever is subscribed; `start` begins it. */
export function hotStream<T>(scheduler: SchedulerLike, play: () => readonly Emission<T>[]): { stream: MarbleStream<T>; start: () => void } {
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

/** The marks of a subscription. */
export function marksOfSubscription({ subscribedFrame, unsubscribedFrame }: SubscriptionFrames): Mark[] {
  const marks: Mark[] = [{ frame: subscribedFrame, kind: 'subscribe' }];
  if (unsubscribedFrame !== Number.POSITIVE_INFINITY) marks.push({ frame: unsubscribedFrame, kind: 'unsubscribe' });
  return marks;
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
