import { MillraceError } from '../errors.ts';
import type { Stage } from '../flow/index.ts';
import type { Source } from '../sources/source.ts';
import type { CheckpointStore } from './checkpoint.ts';
import type { Sink } from './sink.ts';

/** What a pipeline is made of. */
export interface PipelineParts {
  /** Names the pipeline to its checkpoint store and its target: letters, digits, `.`, `_` and `-`, at most 128, not beginning with a dot. */
  readonly name: string;
  readonly source: Source;
  /** What happens to deliveries between the source and the sink, in order. Default none. */
  readonly stages?: readonly Stage[];
  readonly sink: Sink;
  readonly checkpoint: CheckpointStore;
}

/** A pipeline: frozen, inspectable, connected to nothing. `run` runs it, as often as one likes; `describe` prints it. */
export interface PipelineDefinition extends Required<PipelineParts> {
  readonly kind: 'millrace.pipeline';
}

/**
 * Defines a pipeline from a source, stages and a sink.
 *
 * In plain words: a value that says what shall happen; nothing happens until `run`.
 *
 * @throws MR_INVALID_OPTION when a part is missing or is not what it must be, at once and naming it.
 * @see run, describe
 */
export function definePipeline(parts: PipelineParts): PipelineDefinition {
  const stages = parts.stages ?? [];
  check(typeof parts.name === 'string' && NAME.test(parts.name), 'name', parts.name, NAME_BOUND);
  check(has(parts.source, 'open'), 'source', parts.source, 'a source, such as postgres({ … })');
  check(Array.isArray(stages), 'stages', stages, 'an array of operators');
  for (const [index, stage] of stages.entries()) {
    check(
      typeof stage?.operatorName === 'string' && has(stage, 'withContext'),
      `stages[${index}]`,
      stage,
      'an operator; lift(name, op) makes one from a plain RxJS operator',
    );
  }
  check(has(parts.sink, 'open'), 'sink', parts.sink, 'a sink, such as cloudStorage({ … })');
  check(
    has(parts.checkpoint, 'load') && has(parts.checkpoint, 'save'),
    'checkpoint',
    parts.checkpoint,
    'a checkpoint store, such as fileCheckpoint(directory)',
  );
  const { name, source, sink, checkpoint } = parts;
  return Object.freeze({
    kind: 'millrace.pipeline',
    name,
    source,
    stages: Object.freeze([...stages]),
    sink,
    checkpoint,
  });
}

/** Whether `value` was made by `definePipeline`. */
export function isPipelineDefinition(value: unknown): value is PipelineDefinition {
  return typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'millrace.pipeline';
}

const NAME = /^(?!\.)[\w.-]{1,128}$/;
const NAME_BOUND = '1 to 128 letters, digits, ".", "_" or "-", not beginning with "."';

function has(part: unknown, method: string): boolean {
  return (
    part !== null &&
    (typeof part === 'object' || typeof part === 'function') &&
    typeof (part as Record<string, unknown>)[method] === 'function'
  );
}

function check(ok: boolean, option: string, value: unknown, bound: string): void {
  if (!ok) throw new MillraceError('MR_INVALID_OPTION', { option, value: shortText(value), bound });
}

/** A value as an error names it, without what may be inside. */
function shortText(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'function') return `the function ${value.name === '' ? '(anonymous)' : value.name}`;
  return value !== null && typeof value === 'object' ? 'an object' : String(value);
}
