import type { Operator } from '../flow/index.ts';
import type { JsonValue } from '../formats/json.ts';

/** A definition as plain data: JSON can carry it, and it holds no secret and nothing live. */
export type PipelineDescription = {
  readonly name: string;
  readonly source: PartDescription;
  readonly stages: readonly StageDescription[];
  readonly sink: PartDescription;
  /** Null where nothing is checkpointed. */
  readonly checkpoint: { readonly name: string } | null;
};

export type PartDescription = {
  readonly name: string;
  readonly options: PlainData;
};

export type StageDescription = PartDescription & {
  /** The operators it is composed of; empty for a single one. */
  readonly parts: readonly StageDescription[];
};

type PlainData = { readonly [key: string]: JsonValue };

/** A definition of any kind: of a pipeline, of an event recorder. */
export interface Describable {
  readonly kind: `millrace.${string}`;
  readonly name: string;
  readonly source: DescribablePart;
  readonly stages: readonly Operator<never, unknown>[];
  readonly sink: DescribablePart;
  readonly checkpoint: { readonly name: string } | null;
}

interface DescribablePart {
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/** Whether `describe` knows what `value` consists of. */
export function isDescribable(value: unknown): value is Describable {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, stages } = value as { kind?: unknown; stages?: unknown };
  return typeof kind === 'string' && kind.startsWith('millrace.') && Array.isArray(stages);
}

/** What a pipeline, or an event recorder, consists of: its name, and each part with its options. */
export function describe(definition: Describable): PipelineDescription {
  const { name, source, stages, sink, checkpoint } = definition;
  return {
    name,
    source: { name: source.name, options: plainObject(source.options) },
    stages: stages.map(describeStage),
    sink: { name: sink.name, options: plainObject(sink.options) },
    checkpoint: checkpoint === null ? null : { name: checkpoint.name },
  };
}

/** A description as a Mermaid flow chart, left to right; a composed stage is a box around its operators. */
export function toMermaid(description: PipelineDescription): string {
  const lines = ['flowchart LR', node('source', '[(', description.source, ')]')];
  const ids = ['source'];
  for (const [index, stage] of description.stages.entries()) {
    const id = `stage${index + 1}`;
    lines.push(...stageLines(id, stage, '  '));
    ids.push(id);
  }
  lines.push(node('sink', '[(', description.sink, ')]'));
  ids.push('sink');
  lines.push(`  ${ids.join(' --> ')}`);
  if (description.checkpoint !== null) {
    lines.push(
      `  checkpoint[/${quote(description.checkpoint.name)}/]`,
      '  sink -. checkpoint .-> checkpoint',
      '  checkpoint -. confirm .-> source',
    );
  }
  return `${lines.join('\n')}\n`;
}

function describeStage(stage: Operator<never, unknown>): StageDescription {
  return { name: stage.operatorName, options: plainObject(stage.options), parts: stage.parts.map(describeStage) };
}

function stageLines(id: string, stage: StageDescription, indent: string): string[] {
  if (stage.parts.length === 0) return [node(id, '[', stage, ']', indent)];
  const parts = stage.parts.flatMap((part, index) => stageLines(`${id}_${index + 1}`, part, `${indent}  `));
  const chain = stage.parts.length > 1 ? [`${indent}  ${stage.parts.map((_, index) => `${id}_${index + 1}`).join(' --> ')}`] : [];
  return [`${indent}subgraph ${id}[${quote(stage.name)}]`, ...parts, ...chain, `${indent}end`];
}

function node(id: string, open: string, { name, options }: PartDescription, close: string, indent = '  '): string {
  const details = Object.entries(options).map(([key, value]) => `${key}: ${typeof value === 'string' ? value : shortJson(value)}`);
  return `${indent}${id}${open}${quote([name, ...details].join('\n'))}${close}`;
}

/** Mermaid's quoted label: its quotes, brackets and line ends as entities. */
function quote(text: string): string {
  const escaped = text.replace(/[&<>"#]/g, (char) => `#${char.charCodeAt(0)};`).replace(/\n/g, '<br/>');
  return `"${escaped}"`;
}

function shortJson(value: JsonValue): string {
  const text = JSON.stringify(value, (_key, member: unknown) => (typeof member === 'bigint' ? member.toString() : member));
  return text.length > LABEL_LENGTH_MAX ? `${text.slice(0, LABEL_LENGTH_MAX - 1)}…` : text;
}

const LABEL_LENGTH_MAX = 80;

function plainObject(options: Readonly<Record<string, unknown>>): PlainData {
  const entries: [string, JsonValue][] = [];
  for (const [key, value] of Object.entries(options)) {
    if (value !== undefined) entries.push([key, plain(value)]);
  }
  return Object.fromEntries(entries);
}

/** What JSON can carry stays as it is; a function is named, everything else is text. */
function plain(value: unknown): JsonValue {
  if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
    return value;
  if (typeof value === 'function') return `ƒ ${value.name === '' ? 'anonymous' : value.name}`;
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Date || value instanceof RegExp || typeof value !== 'object') return String(value);
  return plainObject(value as Readonly<Record<string, unknown>>);
}
