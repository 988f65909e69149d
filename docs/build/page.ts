import type { OperatorSource, OptionsTable } from './operator-source.ts';
import { LAWS, type SpecRun } from './spec-run.ts';

const MADE = 'made from its source and its spec by `npm run docs`';

/** `docs/operators/NAME.md`. `known` are the operators that names in the prose can link to. */
export function operatorPage(operator: OperatorSource, run: SpecRun, known: readonly OperatorSource[]): string {
  const { name, slug, comment, signature, options, types } = operator;
  const others = known.filter((other) => other.name !== name);
  const linked = (text: string) => withErrors(withLinks(withoutCitations(text), others));
  const blocks = [
    `# ${name}`,
    `**${withoutCitations(comment.summary)}**`,
    comment.plainWords === '' ? '' : `In plain words: ${linked(comment.plainWords)}`,
    `![Marble diagram: ${name} ${altText(run.title)}](${slug}.svg)`,
    `*The first case of its spec: ${name} ${escapeMarkdown(run.title)}. [How to read it](README.md#how-to-read-the-diagrams).*`,
    '## Signature',
    code([signature, ...types].join('\n\n')),
    ...(comment.params.length > 0 ? [comment.params.map((param) => parameter(param, linked)).join('\n')] : []),
    comment.returns === '' ? '' : `**Returns** ${linked(comment.returns)}`,
    ...options.flatMap((table) => [`### ${table.name}`, optionsTable(table)]),
    ...(comment.prose.length > 0 ? ['## Behaviour'] : []),
    ...comment.prose.map(linked),
    ...(comment.examples.length > 0 ? [comment.examples.length === 1 ? '## Example' : '## Examples'] : []),
    ...comment.examples.flatMap(({ caption, code: text }) => [linked(caption), code(text.trimEnd())]),
    '## Edge cases',
    'Each is a passing test.',
    ...[...run.cases]
      .sort((a, b) => Number(a.heading !== '') - Number(b.heading !== ''))
      .flatMap(({ heading, titles }) => (heading === LAWS ? [] : caseList(heading, titles))),
    `And what [every operator keeps](README.md#what-every-operator-keeps).`,
    '## See also',
    [
      ...comment.see.flatMap((text) => text.split('; ')).map((text) => `- ${linked(text.replace(/\.$/, ''))}`),
      `- Source: [operators/${slug}.ts](../../operators/${slug}.ts)`,
      `- Spec: [spec/operators/${slug}.spec.ts](../../spec/operators/${slug}.spec.ts)`,
    ].join('\n'),
    `<sub>This page is ${MADE}.</sub>`,
  ];
  return document(blocks);
}

/** `docs/operators/README.md`. */
export function indexPage(
  operators: readonly OperatorSource[],
  groups: readonly (readonly [string, readonly string[]])[],
  laws: readonly string[],
): string {
  const missing = operators.filter(({ name }) => !groups.some(([, names]) => names.includes(name)));
  if (missing.length > 0) throw new Error(`docs/build/groups.ts has no place for ${missing.map(({ name }) => name).join(', ')}`);
  const row = (name: string) => {
    const operator = operators.find((other) => other.name === name);
    if (operator === undefined) throw new Error(`docs/build/groups.ts names ${name}, which is no operator`);
    return `| [\`${name}\`](${operator.slug}.md) | ${cell(operator.comment.summary)} | ${cell(sentence(operator.comment.plainWords))} |`;
  };
  return document([
    '# Operators',
    'Import them from `millrace/operators`. Each works inside `.pipe()`, as a stage of a pipeline and in `describe`. The pictures are recorded from passing tests: the first case of each spec. How to write one that keeps state: [a stage with state](../concepts.md#a-stage-with-state).',
    ...groups.flatMap(([heading, names]) => [
      `## ${heading}`,
      ['| operator | rule | in plain words |', '|---|---|---|', ...names.map(row)].join('\n'),
    ]),
    '## How to read the diagrams',
    '![Every kind of mark in a diagram](legend.svg)',
    [
      '- Time runs from left to right, in milliseconds; two strokes across the lines cut out a stretch of it. What goes in is above the box, what comes out below.',
      '- A **pill** is a block of rows of a table, `orders@5.2..4`: commitTs 5, ordinals 2 to 4. With values it is a card: `+` a row inserted, `−` one deleted, `~` and `→` one updated from and to.',
      '- Each table has its colour, in and out.',
      '- A **hexagon** is a schema change or a syncpoint, a **square** box a TRUNCATE, a **tick** a resolved mark, a **dashed** box a drain marker. Signals of the session protocol are open pills; `#1.2` is epoch 1, seq 2.',
      '- A **frame** around several events is one delivery; what stands stacked without a frame came one after the other within the same millisecond. A small ring is a delivery without events.',
      '- A **bar** is the end, a **cross** an error. On thin lines an open circle is an enqueue ack, a full one a flush ack.',
    ].join('\n'),
    'The notation is that of `millrace/testing`, in which the specs are written.',
    '## What every operator keeps',
    'Whatever it does, each has these tests too:',
    laws.map((title) => `- ${escapeMarkdown(title)}`).join('\n'),
    `<sub>This page is ${MADE.replace('its source and its spec', 'the sources and the specs')}.</sub>`,
  ]);
}

function document(blocks: readonly string[]): string {
  return `${blocks.filter((block) => block !== '').join('\n\n')}\n`;
}

function code(text: string): string {
  return `\`\`\`ts\n${text}\n\`\`\``;
}

function parameter(text: string, linked: (text: string) => string): string {
  const [, name = '', rest = ''] = /^([\w.]+)\s*(.*)$/s.exec(text) ?? [];
  return `- \`${name}\`: ${linked(rest)}`;
}

function optionsTable({ members }: OptionsTable): string {
  const rows = members.map(
    ({ name, type, isOptional, text }) => `| \`${name}${isOptional ? '?' : ''}\` | ${cell(`\`${type}\``)} | ${cell(text)} |`,
  );
  return ['| option | type | meaning |', '|---|---|---|', ...rows].join('\n');
}

function caseList(heading: string, titles: readonly string[]): string[] {
  const list = [...new Set(titles)].map((title) => `- ${escapeMarkdown(title)}`).join('\n');
  return heading === '' ? [list] : [`### ${escapeMarkdown(sentence(heading))}`, list];
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Error codes as links to what to do about them. */
function withErrors(text: string): string {
  return text.replace(/(?<![`[\w])(MR_[A-Z_]+)/g, (code) => `[${code}](../errors.md#${code.toLowerCase()})`);
}

/** Comments cite specifications for those who work on the source. */
function withoutCitations(text: string): string {
  return text.replace(/ \((?:spec [^)]*|§[^)]*|[IP]\d+(?:, [IP]\d+)*)\)/g, '');
}

/** Names of operators as links, outside of code. */
function withLinks(text: string, operators: readonly OperatorSource[]): string {
  const pattern = new RegExp(
    `\`(${operators.map(({ name }) => name).join('|')})\`|\\b(${operators.map(({ name }) => name).join('|')})\\b`,
    'g',
  );
  return text
    .split(/(`[^`]*`)/)
    .map((part) => {
      if (part.startsWith('`') && !operators.some(({ name }) => part === `\`${name}\``)) return part;
      return part.replace(pattern, (_, quoted: string | undefined, bare: string | undefined) => {
        const found = operators.find(({ name }) => name === (quoted ?? bare))!;
        // Words such as "lift" are also plain English.
        return quoted === undefined && !/[A-Z]/.test(found.name) && !text.startsWith(found.name)
          ? found.name
          : `[\`${found.name}\`](${found.slug}.md)`;
      });
    })
    .join('');
}

/** A title as text: Markdown's own characters as they are meant, code stays code. */
function escapeMarkdown(text: string): string {
  return text
    .split(/(`[^`]*`)/)
    .map((part) => (part.startsWith('`') ? part : part.replace(/[\\*_<>|[\]#]/g, '\\$&')))
    .join('');
}

function altText(text: string): string {
  return text.replace(/[[\]`]/g, '');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
