import type { Happening } from './compare.ts';
import { failAt, type Item, parseDiagram } from './diagram.ts';
import { Expected } from './expectations.ts';
import { ItemMaker } from './item-maker.ts';
import { printTable } from './print.ts';
import type { Mark, RecordedStream } from './recording.ts';
import type { Reset } from './sessions.ts';
import { marksOfSubscription, type SourceRecord, type SubscriptionFrames } from './sources.ts';
import { type MarbleTables, nameOfDispatcher } from './tables.ts';

/** The acks that a source is expected to hear. */
export class AckExpectation extends Expected {
  readonly #source: SourceRecord;
  readonly #tables: MarbleTables;

  constructor(source: SourceRecord, tables: MarbleTables, label?: string) {
    super('expectAcks', 'acks', label);
    this.#source = source;
    this.#tables = tables;
  }

  toBe(text: string, values: Readonly<Record<string, unknown>> | undefined = this.#source.values): void {
    const diagram = parseDiagram(text);
    // Where letters stand for values, what is acked is called by its letter.
    const maker = new ItemMaker(diagram, this.#source.isOfDeliveries ? values : this.#source.values, this.#tables);
    const expected = diagram.marks.map(({ frame, item: written, at }) => {
      const item = behindLetter(written, values);
      if (item === null || !('of' in item))
        return failAt(diagram, at, 'this is no ack', 'Acks are enqueued:a@5, flushed:[a@5,b@5], flushed:x');
      const { is, of } = item;
      const value = this.#source.isOfDeliveries ? maker.delivery(of, at) : maker.value(of, at);
      return textExpectation(frame, `${is}:${this.#source.textOf(value, of.is === 'letter' ? of.letter : null)}`);
    });
    this.later(this.toBe, () => this.compare(expected, this.#happened()));
  }

  recorded(): readonly RecordedStream[] {
    return [{ role: 'acks', label: this.label, marks: this.#happened().map(({ mark }) => mark) }];
  }

  #happened(): Happening[] {
    return this.#source.acks.map(({ frame, stage, text }) => textHappening(frame, `${stage}:${text}`));
  }
}

/** The resets that the sessions are expected to be asked for. */
export class ResetExpectation extends Expected {
  readonly #resets: readonly Reset[];

  constructor(resets: readonly Reset[]) {
    super('expectResets', 'resets');
    this.#resets = resets;
  }

  toBe(text: string, reasons?: readonly (string | RegExp)[], values?: Readonly<Record<string, string>>): void {
    const diagram = parseDiagram(text);
    if (reasons !== undefined && reasons.length > diagram.marks.length)
      failAt(diagram, 0, `there are ${reasons.length} reasons for ${diagram.marks.length} resets`, 'Give one for each reset, in order');
    const expected = diagram.marks.map(({ frame, item: written, at }, index) => {
      const item = behindLetter(written, values);
      if (item?.is !== 'reset') return failAt(diagram, at, 'this is no reset', 'Resets are reset:a, with the name of their table');
      const name = `reset:${printTable(item.table)}`;
      const matches = ({ mark, value }: Happening) => textIn(mark) === name && isReason(reasons?.[index], value as string);
      return { mark: textMark(frame, name), matches };
    });
    this.later(this.toBe, () =>
      this.compare(expected, this.#happened(), (want, got) => {
        if (want === undefined || got === undefined || textIn(want.mark) !== textIn(got.mark) || want.mark.frame !== got.mark.frame)
          return null;
        return `a reset was asked for because of "${got.value}", and the reason should be ${String(reasons?.[expected.indexOf(want)])}`;
      }),
    );
  }

  recorded(): readonly RecordedStream[] {
    return [{ role: 'resets', label: this.label, marks: this.#happened().map(({ mark }) => mark) }];
  }

  #happened(): Happening[] {
    return this.#resets.map(({ frame, dispatcher, reason }) => {
      const name = nameOfDispatcher(dispatcher);
      return { mark: textMark(frame, `reset:${name === null ? dispatcher : printTable(name)}`), value: reason };
    });
  }
}

/** Who is expected to be subscribed. */
export class SubscriptionExpectation extends Expected {
  readonly #subscriptions: readonly SubscriptionFrames[];

  constructor(subscriptions: readonly SubscriptionFrames[]) {
    super('expectSubscriptions', 'subscription');
    this.#subscriptions = subscriptions;
  }

  toBe(texts: string | readonly string[]): void {
    const diagrams = (typeof texts === 'string' ? [texts] : texts)
      .map((text) => parseDiagram(text, 'subscription'))
      .filter(({ marks }) => marks.length > 0);
    const expected = diagrams.map(({ marks }) => marks.map(({ frame, kind }) => ({ mark: { frame, kind } as Mark, matches: () => true })));
    this.later(this.toBe, () => {
      const actual = this.#marks().map((marks) => marks.map((mark) => ({ mark, value: undefined })));
      for (let i = 0; i < Math.max(expected.length, actual.length); i++) this.compare(expected[i] ?? [], actual[i] ?? []);
    });
  }

  recorded(): readonly RecordedStream[] {
    return this.#marks().map((marks) => ({ role: 'subscription' as const, label: this.label, marks }));
  }

  #marks(): Mark[][] {
    return this.#subscriptions.map(marksOfSubscription);
  }
}

/** A letter stands for the ack or the reset that its value writes: where two are closer than their texts are long. */
export function behindLetter(item: Item | null, values: Readonly<Record<string, unknown>> | undefined): Item | null {
  if (item?.is !== 'letter' || values === undefined || !Object.hasOwn(values, item.letter)) return item;
  const value = values[item.letter];
  if (typeof value !== 'string') return item;
  const { marks } = parseDiagram(value);
  return marks.length === 1 ? marks[0]!.item : item;
}

function isReason(expected: string | RegExp | undefined, actual: string): boolean {
  if (expected === undefined) return true;
  return typeof expected === 'string' ? expected === actual : expected.test(actual);
}

function textMark(frame: number, text: string): Mark {
  return { frame, kind: 'next', text };
}

function textIn(mark: Mark): string {
  return mark.kind === 'next' ? mark.text : mark.kind;
}

function textExpectation(frame: number, text: string) {
  return { mark: textMark(frame, text), matches: ({ mark }: Happening) => textIn(mark) === text };
}

function textHappening(frame: number, text: string): Happening {
  return { mark: textMark(frame, text), value: text };
}
