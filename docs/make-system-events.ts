import { writeFileSync } from 'node:fs';
import { SLOW_OPERATIONS, SLOW_OPERATIONS_TABLE, SYSTEM_EVENTS, SYSTEM_EVENTS_TABLE } from '../lib/flow/index.ts';

/** `docs/system-events.md`, made from the definitions: `tsx docs/make-system-events.ts` writes it, a spec fails when it is stale. */
export function systemEventsDocument(): string {
  const groups = Object.entries(PARTS).flatMap(([part, title]) => [
    `## ${title}`,
    '',
    '| type | | payload |',
    '|---|---|---|',
    ...Object.entries(SYSTEM_EVENTS)
      .filter(([, definition]) => definition.part === part)
      .map(([type, { help, fields }]) => `| \`${type}\` | ${help} | ${fieldsText(fields)} |`),
    '',
  ]);
  const operations = Object.entries(SLOW_OPERATIONS).map(
    ([operation, { help, details }]) => `| \`${operation}\` | ${help} | ${details.map((name) => `\`${name}\``).join(', ')} |`,
  );
  return [...INTRO, ...groups, ...SLOW_INTRO, ...operations, ''].join('\n');
}

function fieldsText(fields: Readonly<Record<string, string>>): string {
  return Object.entries(fields)
    .map(([name, text]) => `\`${name}\` ${text}`)
    .join('<br>');
}

const PARTS = { run: 'The run', source: 'The PostgreSQL source', sink: 'The cloud storage sink' } as const;

const INTRO = [
  '# What a run records of itself',
  '',
  'With `millrace capture --events URI`, or `run(pipeline, { events: recorder })`, a run tells an [event recorder](events.md) what happens to it. Nobody listens by default, and then',
  'nothing is built. A recorder that fails, is full or never answers changes nothing of the run.',
  '',
  "A recorder delivers in batches, at the latest 5 s after a batch's first event (its `linger`). What happened in the last 5 s before a process was killed may be missing, then, and more where the target of the",
  'events was down. That a run did not end in order shows by what is missing: `pipeline_started` without `pipeline_stopped` or `pipeline_failed` behind it. A recorder of your own with a',
  '[`spill`](events.md#what-becomes-of-it) keeps its events over such an end, and the next one of its folder delivers them; that of `capture` has none.',
  '',
  `Events stand in the table \`${SYSTEM_EVENTS_TABLE}\`, those of slow operations in \`${SLOW_OPERATIONS_TABLE}\`. Every payload has \`pipeline\`, the pipeline's name, beside the fields named below. Positions are`,
  'texts of digits (for PostgreSQL the LSN as a number of bytes), durations are in milliseconds. Errors and addresses come without passwords and keys.',
  '',
];

const SLOW_INTRO = [
  '## What was lost',
  '',
  `With \`capture\`, the recorder tells once a minute, while events of this run are lost, and at its end: as \`events_lost\` in \`${SYSTEM_EVENTS_TABLE}\`, with \`n\` how many, \`from\` and \`to\` between which times, and`,
  '`reasons`, a list of the same for each `reason`: that of a [refusal](events.md#what-becomes-of-it); `exhausted` where the last retry failed; `rejected` where the target refuses the event for good.',
  'It is the recorder that tells it, so it names no pipeline.',
  '',
  '## Slow operations',
  '',
  'An operation that took longer than the threshold (`--slow-threshold`, `slowThreshold`, 30 s), or a part of those (`--slow-sample`, `slowSampleRatio`, 1), is a `slow_operation` with the columns',
  '`cost_ms`, `threshold_ms`, `operation` and `error` (null when it went well).',
  '',
  '| operation | | payload |',
  '|---|---|---|',
];

if (import.meta.url === new URL(process.argv[1] ?? '', 'file:').href) {
  writeFileSync(new URL('./system-events.md', import.meta.url), systemEventsDocument());
}
