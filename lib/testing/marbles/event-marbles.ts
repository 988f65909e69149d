import type { Observable } from 'rxjs';
import { isMillraceError, MillraceError } from '../../errors.ts';
import type { Delivery } from '../../events/index.ts';
import { type Clock, type Context, clockOf, createContext } from '../../flow/index.ts';
import { seededRandom } from '../random.ts';
import { RealTimerGuard } from '../real-timer-guard.ts';
import { parseDiagram } from './diagram.ts';
import { AckExpectation, ResetExpectation, SubscriptionExpectation } from './expect-acks.ts';
import { StreamExpectation, type StreamForm } from './expect-stream.ts';
import { Expectations } from './expectations.ts';
import type { DeliveryValues } from './item-maker.ts';
import { MarbleScheduler } from './marble-scheduler.ts';
import type { Recording } from './recording.ts';
import { type MarbleSessions, recordedSessions } from './sessions.ts';
import type { MarbleStream, SubscriptionFrames } from './sources.ts';
import { Sources } from './sources.ts';
import { MarbleTables, type TableSketches } from './tables.ts';

export interface EventMarblesOptions extends Partial<Omit<Context, 'sessions'>> {
  /** The columns of tables by name; a table that is not listed has `id` (the key) and `note`, both text. */
  readonly tables?: TableSketches;
  /** The current epoch of each table (0 where none is given), or sessions of your own; resets that are asked for are written down either way. */
  readonly sessions?: MarbleSessions;
  /** Of `clock.random`. Default 1. */
  readonly seed?: number;
  /** Called when everything was as expected. */
  readonly onRecorded?: (recording: Recording) => void;
}

/** How a recording, or a failed comparison, shows a stream. */
export interface StreamOptions<T> {
  readonly label?: string;
  /** A text for each value that is no delivery and no event. In an expectation it is also what the diagram's letters stand for. */
  readonly show?: (value: T) => string;
}

export interface ExpectOptions<T> extends StreamOptions<T> {
  /** When the stream is subscribed and let go: `--^---!`. Default: from frame 0 to its end. */
  readonly subscription?: string;
}

/** What an expectation takes: an error is given by itself, by its `code`, or by a pattern of its message. Default `'error'`. */
export interface ToBe<Values> {
  toBe(diagram: string, values?: Values, error?: unknown): void;
}

/** What a marble test has at hand; `docs/event-marbles.md` has the language. */
export interface EventMarbles {
  /** A context on the test's clock: `operator.withContext(context)`. */
  readonly context: Context;
  /** The clock of the context: a frame is a millisecond, and time begins at 0. */
  readonly clock: Clock;
  /** A stream of deliveries that plays anew, with new events, for each subscription. */
  events(diagram: string, values?: DeliveryValues, error?: unknown, options?: StreamOptions<Delivery>): MarbleStream<Delivery>;
  /** A stream of deliveries that plays once, for whoever is subscribed; `^` is frame 0. */
  hotEvents(diagram: string, values?: DeliveryValues, error?: unknown, options?: StreamOptions<Delivery>): MarbleStream<Delivery>;
  /** A stream of whatever the letters stand for (by default themselves); an event in the diagram is emitted as itself, `[a@5]` as a delivery. */
  cold<T = string>(diagram: string, values?: Readonly<Record<string, T>>, error?: unknown, options?: StreamOptions<T>): MarbleStream<T>;
  /** The same, once for whoever is subscribed. */
  hot<T = string>(diagram: string, values?: Readonly<Record<string, T>>, error?: unknown, options?: StreamOptions<T>): MarbleStream<T>;
  /** Expects deliveries by their notation. Empty ones are left out: a stage emits one delivery for each that it receives, and an empty one says nothing. */
  expectEvents(stream: Observable<Delivery>, options?: string | ExpectOptions<Delivery>): ToBe<DeliveryValues>;
  /** Expects deliveries by their notation, empty ones too: `[]`. */
  expectDeliveries(stream: Observable<Delivery>, options?: string | ExpectOptions<Delivery>): ToBe<DeliveryValues>;
  /** Expects any values: events and deliveries by their notation, with `show` by the text it gives, others by equality in depth. */
  expectObservable<T>(stream: Observable<T>, options?: string | ExpectOptions<T>): ToBe<Readonly<Record<string, unknown>>>;
  /**
   * Expects the acks of what `source` (a stream of this test) emitted: `enqueued:a@5`, `flushed:[a@5,b@5]`, `flushed:x`. Where two are closer in time than
   * their texts are long, letters stand for them: `{ x: 'enqueued:a@5' }`.
   */
  expectAcks(source: Observable<unknown>, options?: { readonly label?: string }): ToBe<DeliveryValues>;
  /** Expects the resets that the context's sessions were asked for: `reset:a`, with their reasons, in order, where they matter. */
  expectResets(): { toBe(diagram: string, reasons?: readonly (string | RegExp)[], values?: Readonly<Record<string, string>>): void };
  /** Expects who was subscribed to a stream of this test, and when: one diagram each. */
  expectSubscriptions(subscriptions: readonly SubscriptionFrames[]): { toBe(diagrams: string | readonly string[]): void };
  /** The frame of `|`: `time('-----|')` is 5. */
  time(diagram: string): number;
  /** Lets all frames pass now, and compares what has been expected so far. */
  flush(): void;
}

/**
 * Runs `body` in virtual time, then compares what it expects: a marble test of change events.
 *
 * In plain words: draw what goes in, draw what must come out, one above the other.
 *
 * Time is RxJS's `TestScheduler`: a character of a diagram is a frame of one millisecond, and RxJS's own operators wait in it too. It carries no promises;
 * `virtualTime` does. Real timers are refused meanwhile.
 *
 * @throws MR_MARBLES_DIFFER with both diagrams; MR_MARBLES_MALFORMED for a diagram that makes no sense; MR_MARBLES_UNFINISHED for an expectation without
 * `toBe`; MR_MARBLES_ENDLESS for a stream that never comes to rest; MR_MARBLES_ASYNC for an async body;
 * MR_REAL_TIMER when a real timer was asked for; MR_VIRTUAL_TIME_NESTED inside another, or inside `virtualTime`.
 */
export function eventMarbles(body: (tools: EventMarbles) => void, options: EventMarblesOptions = {}): void {
  const { tables: sketches, sessions: given, seed = 1, onRecorded, ...parts } = options;
  const scheduler = new MarbleScheduler();
  const tables = new MarbleTables(sketches);
  const { sessions, resets } = recordedSessions(given, scheduler);
  const clock = parts.clock ?? clockOf(scheduler, seededRandom(seed));
  const context = createContext({ ...parts, clock, sessions });
  const sources = new Sources(scheduler, tables);
  const expectations = new Expectations();
  const flush = () => {
    sources.start();
    scheduler.flush();
    expectations.check();
  };
  const expectStream = (stream: Observable<unknown>, form: StreamForm, options: string | ExpectOptions<never> = {}) =>
    expectations.add(
      new StreamExpectation(scheduler, tables, stream, form, typeof options === 'string' ? { subscription: options } : options),
    );
  const tools: EventMarbles = {
    context,
    clock,
    events: (diagram, values, error, options) => sources.cold(diagram, 'deliveries', values, error, options),
    hotEvents: (diagram, values, error, options) => sources.hot(diagram, 'deliveries', values, error, options),
    cold: (diagram, values, error, options) => sources.cold(diagram, 'values', values, error, options),
    hot: (diagram, values, error, options) => sources.hot(diagram, 'values', values, error, options),
    expectEvents: (stream, options) => expectStream(stream, 'events', options),
    expectDeliveries: (stream, options) => expectStream(stream, 'deliveries', options),
    expectObservable: (stream, options) => expectStream(stream, 'values', options as string | ExpectOptions<never>),
    expectAcks: (stream, options) => expectations.add(new AckExpectation(sources.of(stream), tables, options?.label)),
    expectResets: () => expectations.add(new ResetExpectation(resets)),
    expectSubscriptions: (subscriptions) => expectations.add(new SubscriptionExpectation(subscriptions)),
    time: (diagram) => timeOf(diagram),
    flush,
  };
  runAlone(scheduler, () => {
    const returned: unknown = body(tools);
    if (typeof returned === 'object' && returned !== null && 'then' in returned) {
      // What it fails with is no news any more, and would end the process.
      Promise.resolve(returned).catch(() => {});
      throw new MillraceError('MR_MARBLES_ASYNC');
    }
    flush();
    expectations.requireFinished();
  });
  onRecorded?.(recordingOf(sources, expectations));
}

/** RxJS's timers are on the scheduler; others are refused, and that is told before what fails because of it. */
function runAlone(scheduler: MarbleScheduler, body: () => void): void {
  const guard = RealTimerGuard.install(() => scheduler.now());
  try {
    scheduler.run(body);
  } catch (error) {
    if (!isMillraceError(error, 'MR_MARBLES_ASYNC')) guard.check();
    throw error;
  } finally {
    guard.restore();
  }
  guard.check();
}

function timeOf(text: string): number {
  const diagram = parseDiagram(text);
  const end = diagram.marks.find(({ kind }) => kind === 'complete');
  return end?.frame ?? diagram.frames;
}

function recordingOf(sources: Sources, expectations: Expectations): Recording {
  const streams = [...sources.recorded(), ...expectations.recorded()];
  return { streams, frames: Math.max(0, ...streams.flatMap(({ marks }) => marks.map(({ frame }) => frame + 1))) };
}
