import type { Observable, SchedulerLike, Subscription } from 'rxjs';
import { compare, type Expectation, type Explain, type Happening } from './compare.ts';
import type { Diagram } from './diagram.ts';
import type { RecordedStream } from './recording.ts';

/** Something that a test expects, compared when all frames have passed. */
export abstract class Expected {
  readonly role: RecordedStream['role'];
  readonly #label: string | undefined;
  #comparisons: (() => void)[] = [];

  constructor(role: RecordedStream['role'], label?: string) {
    this.role = role;
    this.#label = label;
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

  /** Compares later; what fails then is shown as failing where it was asked for, in the caller of `from`. */
  protected later(from: (...args: never[]) => unknown, comparison: () => void): void {
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

  recorded(): RecordedStream[] {
    return this.#all.flatMap((expected) => expected.recorded());
  }
}

/** Subscribes at the frame of `^` (default 0) and lets go at that of `!`. */
export function subscribeAt(
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
