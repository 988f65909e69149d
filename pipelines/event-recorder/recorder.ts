import { type Context, createContext, type Operator, type PlainOptions } from '../../lib/flow/index.ts';
import { recorderStages } from './operators.ts';
import { type EventRecorderOptions, type OverflowPolicy, plainRecorderOptions, recorderLimits } from './options.ts';
import { type EventRecorder, openRecorder } from './running-recorder.ts';

/** A recorder as a value: frozen, inspectable (`describe` prints it), connected to nothing. */
export interface EventRecorderDefinition<Policy extends OverflowPolicy = OverflowPolicy> {
  readonly kind: 'millrace.event-recorder';
  readonly name: string;
  /** Plain data, without what is live. */
  readonly options: PlainOptions;
  /** Where its events come from, what they pass and where they go, as in a pipeline; nothing is checkpointed. */
  readonly source: { readonly name: string; readonly options: PlainOptions };
  readonly stages: readonly Operator<never, unknown>[];
  readonly sink: { readonly name: string; readonly options: PlainOptions };
  readonly checkpoint: null;
  /**
   * Starts it. Nothing is connected yet: the handler is opened with the first batch, so a target that is down holds nobody up.
   *
   * @param parts in place of the defaults of a context; with `signal`, which ends the recorder at once when it is aborted.
   * @throws with policy `spill`: MR_STATE_LOCKED while another recorder lives there, MR_EVENT_SPILL_UNUSABLE.
   */
  open(parts?: RecorderParts): Promise<EventRecorder<Policy>>;
}

export interface RecorderParts extends Partial<Context> {
  readonly signal?: AbortSignal;
}

/**
 * Defines a recorder of events: what a system did, kept in a table, without ever holding up or failing whoever records (spec event-recorder).
 *
 * In plain words: `record` says at once what became of an event; delivering it is somebody else's matter, and whatever is lost is counted and told.
 *
 * @example
 * ```ts
 * import { type EventHandler, eventRecorder } from 'millrace/pipelines';
 *
 * const handler: EventHandler = { name: 'console', deliver: async ({ type, events }) => console.log(type, events.length) };
 * const recorder = await eventRecorder({ handler, linger: '1s' }).open();
 * recorder.record({ type: 'started', payload: { version: 3 } });
 * const { delivered } = await recorder.close();
 * // → started 1
 * console.log(delivered); // → 1
 * ```
 *
 * @throws MR_INVALID_OPTION, at once.
 */
export function eventRecorder<const Policy extends OverflowPolicy = 'dropNewest'>(
  options: EventRecorderOptions<Policy>,
): EventRecorderDefinition<Policy> {
  const limits = recorderLimits(options);
  return Object.freeze({
    kind: 'millrace.event-recorder',
    name: limits.name,
    options: plainRecorderOptions(limits),
    source: { name: 'record', options: { overflow: limits.overflow, queueEvents: limits.queueEvents, queueBytes: limits.queueBytes } },
    stages: Object.freeze(recorderStages(limits)),
    sink: { name: limits.handler.name, options: {} },
    checkpoint: null,
    open: ({ signal, ...parts }: RecorderParts = {}) => openRecorder<Policy>(limits, createContext(parts), signal ?? null),
  });
}
