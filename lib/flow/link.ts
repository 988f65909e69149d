import { type Observable, Subscriber } from 'rxjs';

/** What an operator does with what its source tells it; what is left out passes on. */
export interface LinkHandlers<In> {
  readonly next: (value: In) => void;
  readonly error?: (error: unknown) => void;
  readonly complete?: () => void;
}

/**
 * Subscribes an operator's `subscriber` to its source as RxJS's own operators do: when the subscriber is closed, also within a synchronous emission, the
 * source is unsubscribed there and then, and what a handler throws is the stream's error.
 */
export function link<In, Out>(source: Observable<In>, subscriber: Subscriber<Out>, handlers: LinkHandlers<In>): void {
  source.subscribe(new Link(subscriber, handlers));
}

class Link<In, Out> extends Subscriber<In> {
  readonly #subscriber: Subscriber<Out>;
  readonly #handlers: LinkHandlers<In>;

  constructor(subscriber: Subscriber<Out>, handlers: LinkHandlers<In>) {
    super(subscriber);
    this.#subscriber = subscriber;
    this.#handlers = handlers;
  }

  protected override _next(value: In): void {
    // Written out, because it runs once per element.
    try {
      this.#handlers.next(value);
    } catch (error) {
      this.#subscriber.error(error);
    }
  }

  protected override _error(error: unknown): void {
    const { error: handle } = this.#handlers;
    this.#guard(() => (handle === undefined ? this.#subscriber.error(error) : handle(error)));
    this.unsubscribe();
  }

  protected override _complete(): void {
    const { complete: handle } = this.#handlers;
    this.#guard(() => (handle === undefined ? this.#subscriber.complete() : handle()));
    this.unsubscribe();
  }

  #guard(handle: () => void): void {
    try {
      handle();
    } catch (error) {
      this.#subscriber.error(error);
    }
  }
}
