import type { Observable, SchedulerLike, Subscription } from 'rxjs';
import { Delivery } from '../../events/index.ts';
import type { Expectation, Happening } from './compare.ts';
import { type Diagram, failAt, type PlacedMark, parseDiagram } from './diagram.ts';
import { areEqual, inOneLine, isExpectedError, messageOf, textOf } from './display.ts';
import { Expected } from './expectations.ts';
import { ItemMaker } from './item-maker.ts';
import type { Mark, RecordedStream } from './recording.ts';
import type { MarbleTables } from './tables.ts';

/** Deliveries without the empty ones, all deliveries, or any values. */
export type StreamForm = 'events' | 'deliveries' | 'values';

export interface StreamExpectationOptions {
  readonly label?: string;
  readonly show?: (value: never) => string;
  readonly subscription?: string;
}

const EXPECTATIONS = { events: 'expectEvents', deliveries: 'expectDeliveries', values: 'expectObservable' } as const;

/** What a stream is expected to emit. */
export class StreamExpectation extends Expected {
  readonly #tables: MarbleTables;
  readonly #form: StreamForm;
  readonly #show: ((value: never) => string) | undefined;
  readonly #actual: Happening[] = [];

  constructor(
    scheduler: SchedulerLike,
    tables: MarbleTables,
    stream: Observable<unknown>,
    form: StreamForm,
    options: StreamExpectationOptions,
  ) {
    super(EXPECTATIONS[form], 'output', options.label);
    this.#tables = tables;
    this.#form = form;
    this.#show = options.show;
    const subscription = parseDiagram(options.subscription ?? '^', 'subscription');
    subscribeAt(scheduler, subscription, stream, (kind, value) => {
      if (kind === 'next' && this.#isLeftOut(value)) return;
      const frame = scheduler.now();
      this.#actual.push({ value, mark: kind === 'next' ? { frame, kind, text: textOf(value, null, this.#show) } : { frame, kind } });
    });
  }

  toBe(text: string, values?: Readonly<Record<string, unknown>>, error: unknown = 'error'): void {
    const diagram = parseDiagram(text);
    const maker = new ItemMaker(diagram, values, this.#tables);
    const expected = diagram.marks.map((mark) => this.#expectationOf(mark, maker, error, text));
    this.later(this.toBe, () => {
      this.#nameByLetters(expected);
      this.compare(expected, this.#actual, (want, got) => explain(`the ${this.label}`, want as ExpectedValue | undefined, got, error));
    });
  }

  recorded(): readonly RecordedStream[] {
    return [{ role: 'output', label: this.label, marks: this.#actual.map(({ mark }) => mark) }];
  }

  #expectationOf({ frame, kind, item, at }: PlacedMark, maker: ItemMaker, error: unknown, text: string): ExpectedValue {
    if (kind === 'error') return { mark: { frame, kind }, matches: ({ value }) => isExpectedError(error, value), value: error };
    if (item === null) return { mark: { frame, kind } as Mark, matches: () => true, value: undefined };
    const value = this.#form === 'values' ? maker.value(item, at) : maker.delivery(item, at);
    if (this.#isLeftOut(value))
      failAt({ text }, at, 'expectEvents leaves empty deliveries out', 'Take this one away, or use expectDeliveries');
    const isText = this.#show !== undefined && typeof value === 'string';
    const shown = isText ? inOneLine(value) : textOf(value, item.is === 'letter' ? item.letter : null, this.#show);
    const mark: Mark = { frame, kind: 'next', text: shown };
    if (this.#show === undefined) return { mark, value, matches: (actual) => areEqual(value, actual.value) };
    return { mark, value, matches: (actual) => actual.mark.kind === 'next' && actual.mark.text === shown };
  }

  #isLeftOut(value: unknown): boolean {
    return this.#form === 'events' && value instanceof Delivery && value.events.length === 0;
  }

  /** What has no text of its own is shown by the letter that stands for its equal. */
  #nameByLetters(expected: readonly ExpectedValue[]): void {
    if (this.#show !== undefined) return;
    for (const [i, { mark, value }] of this.#actual.entries()) {
      if (mark.kind !== 'next' || typeof value !== 'object' || value === null || textOf(value, '', undefined) !== '') continue;
      const same = expected.find((candidate) => candidate.mark.kind === 'next' && areEqual(candidate.value, value));
      if (same?.mark.kind === 'next') this.#actual[i] = { value, mark: { ...mark, text: same.mark.text } };
    }
  }
}

interface ExpectedValue extends Expectation {
  readonly value: unknown;
}

function explain(what: string, want: ExpectedValue | undefined, got: Happening | undefined, error: unknown): string | null {
  if (got?.mark.kind === 'error' && want?.mark.kind === 'error' && want.mark.frame === got.mark.frame) {
    return `${what} failed with ${messageOf(got.value)}, and ${messageOf(error)} was expected (give the error, its code, or a pattern of its message as the last argument)`;
  }
  if (got?.mark.kind === 'error') return `${what} failed at frame ${got.mark.frame} with ${messageOf(got.value)}`;
  if (got?.mark.kind !== 'next' || want?.mark.kind !== 'next' || got.mark.frame !== want.mark.frame || got.mark.text !== want.mark.text)
    return null;
  if (got.value instanceof Delivery === want.value instanceof Delivery) return null;
  const [had, wanted] = got.value instanceof Delivery ? ['a delivery of', 'the event itself'] : ['an event', 'a delivery of it'];
  return `${what} had ${had} ${got.mark.text} at frame ${got.mark.frame}, and ${wanted} was expected`;
}

/** Subscribes at the frame of `^` (default 0) and lets go at that of `!`. */
function subscribeAt(
  scheduler: SchedulerLike,
  diagram: Diagram,
  stream: Observable<unknown>,
  onHappening: (kind: 'next' | 'complete' | 'error', value: unknown) => void,
): void {
  const frameOf = (sign: 'subscribe' | 'unsubscribe') => diagram.marks.find(({ kind }) => kind === sign)?.frame;
  let subscription: Subscription | null = null;
  scheduler.schedule(() => {
    subscription = stream.subscribe({
      next: (value) => onHappening('next', value),
      error: (error) => onHappening('error', error),
      complete: () => onHappening('complete', undefined),
    });
  }, frameOf('subscribe') ?? 0);
  const letGoAt = frameOf('unsubscribe');
  if (letGoAt !== undefined) scheduler.schedule(() => subscription?.unsubscribe(), letGoAt);
}
