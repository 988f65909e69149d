import { type MonoTypeOperatorFunction, Observable } from 'rxjs';

/** Calls `after` when whoever is downstream has taken the value in. */
export function whenTaken<T>(after: () => void): MonoTypeOperatorFunction<T> {
  return (source) =>
    new Observable((subscriber) =>
      source.subscribe({
        next: (value) => {
          subscriber.next(value);
          after();
        },
        error: (error: unknown) => subscriber.error(error),
        complete: () => subscriber.complete(),
      }),
    );
}
