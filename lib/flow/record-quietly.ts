import { reasonOf } from '../errors.ts';
import { scrubText } from '../redact.ts';

/** What a producer tells: an event recorder's `EventInput`. */
export interface ProducedEvent {
  readonly type: string;
  readonly table: string;
  readonly payload: unknown;
  readonly extraSchema?: readonly ProducedColumn[];
  readonly extraRows?: readonly (readonly unknown[])[];
}

export interface ProducedColumn {
  readonly name: string;
  readonly type: 'string' | 'uint64';
  readonly semantic: 'tag' | 'field';
  readonly nullable: boolean;
}

/** A port: who keeps events. An event recorder is one; whatever it does, a producer goes on. */
export interface EventPort {
  record(event: ProducedEvent): unknown;
  /** Whether events of this type are kept at all. Left out: all are. */
  wants?(type: string): boolean;
}

/** Builds and records an event whose failure is nobody's business but the recorder's (W14): not even a recorder that breaks its contract is heard. */
export function recordQuietly<Event>(
  events: { record(event: Event): unknown; wants?(type: string): boolean },
  type: string,
  build: () => Event,
): void {
  try {
    if (events.wants?.(type) === false) return;
    const outcome = events.record(build());
    // With the policy `block` it is a promise.
    if (isThenable(outcome)) outcome.then(undefined, () => {});
  } catch {
    // A producer goes on, whatever becomes of its event.
  }
}

/** An error as an event tells it, without secrets: events are kept for long, and read by many. */
export function errorText(error: unknown): string {
  return scrubText(reasonOf(error));
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
