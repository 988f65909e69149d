import { writeFileSync } from 'node:fs';
import { ERRORS } from '../lib/errors.ts';

/** `docs/errors.md`, made from the table in `lib/errors.ts`: `tsx docs/make-errors.ts` writes it, a spec fails when it is stale. */
export function errorsDocument(): string {
  const intro = [
    '# Errors',
    '',
    'Every error that Millrace raises, with what to do about it. An error is a `MillraceError`: `code` is stable, `message` ends with the remedy, `details`',
    'holds the values named in braces. None of them ever holds a password. This page is made from `lib/errors.ts` by `docs/make-errors.ts`.',
    '',
  ];
  const entries = Object.entries(ERRORS).sort(([a], [b]) => (a < b ? -1 : 1));
  const sections = entries.flatMap(([code, { message, remedy }]) => [
    `## ${code}`,
    '',
    escaped(`${message}.`),
    '',
    `**What to do:** ${escaped(remedy)}`,
    '',
  ]);
  return [...intro, ...sections].join('\n');
}

/** Markdown's own characters as they are meant. */
function escaped(text: string): string {
  return text
    .replace(/[<>*_|]/g, '\\$&')
    .replace(/\{(\w+)\}/g, '`{$1}`')
    .replace(/`\{[^}]*\}`/g, (name) => name.replaceAll('\\', ''));
}

if (import.meta.url === new URL(process.argv[1] ?? '', 'file:').href) {
  writeFileSync(new URL('./errors.md', import.meta.url), errorsDocument());
}
