import { MillraceError } from '../../errors.ts';
import { compare, type Expectation, type Explain, type Happening } from './compare.ts';
import type { RecordedStream } from './recording.ts';

/** Something that a test expects, compared when all frames have passed. */
export abstract class Expected {
  readonly role: RecordedStream['role'];
  readonly #label: string | undefined;
  #comparisons: (() => void)[] = [];
  /** What it is when nothing says what to expect of it: it would pass whatever happens. Null when something does. */
  #unfinished: MillraceError | null;

  /** @param name of the function that made it. */
  constructor(name: `expect${string}`, role: RecordedStream['role'], label?: string) {
    this.role = role;
    this.#label = label;
    this.#unfinished = new MillraceError('MR_MARBLES_UNFINISHED', { expectation: name });
  }

  get label(): string {
    return this.#label ?? this.role;
  }

  /** What happened, for a recording: one stream, or one for each subscription. */
  abstract recorded(): readonly RecordedStream[];

  check(): void {
    const comparisons = this.#comparisons;
    this.#comparisons = [];
    for (const comparison of comparisons) comparison();
  }

  /** @throws MR_MARBLES_UNFINISHED when it was never told what to expect, as from where it was made. */
  requireFinished(): void {
    if (this.#unfinished !== null) throw this.#unfinished;
  }

  /** Compares later; what fails then is shown as failing where it was asked for, in the caller of `from`. */
  protected later(from: (...args: never[]) => unknown, comparison: () => void): void {
    this.#unfinished = null;
    const asked: { stack?: string } = {};
    Error.captureStackTrace(asked, from);
    const frames = asked.stack?.split('\n').slice(1).join('\n') ?? '';
    this.#comparisons.push(() => {
      try {
        comparison();
      } catch (error) {
        if (error instanceof Error) error.stack = `${error.name}: ${error.message}\n${frames}`;
        throw error;
      }
    });
  }

  protected compare(expected: readonly Expectation[], actual: readonly Happening[], explain?: Explain): void {
    compare(`the ${this.label}`, expected, actual, explain);
  }
}

/** All that a test expects. */
export class Expectations {
  readonly #all: Expected[] = [];

  add<T extends Expected>(expected: T): T {
    this.#all.push(expected);
    return expected;
  }

  check(): void {
    for (const expected of this.#all) expected.check();
  }

  requireFinished(): void {
    for (const expected of this.#all) expected.requireFinished();
  }

  recorded(): RecordedStream[] {
    return this.#all.flatMap((expected) => expected.recorded());
  }
}
