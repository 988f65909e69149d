import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { errorsDocument } from '../make-errors.ts';
import { metricsDocument } from '../make-metrics.ts';
import { systemEventsDocument } from '../make-system-events.ts';
import { diagramSvg } from './diagram.ts';
import { GROUPS } from './groups.ts';
import { legendSvg } from './legend.ts';
import { readOperators } from './operator-source.ts';
import { indexPage, operatorPage } from './page.ts';
import { LAWS, runOperatorSpecs } from './spec-run.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const OPERATORS = 'docs/operators';

/** Everything that is made, by path: the same sources and specs give the same bytes. */
function makeAll(): ReadonlyMap<string, string> {
  const operators = readOperators(ROOT);
  const runs = runOperatorSpecs(
    ROOT,
    operators.map(({ slug }) => slug),
  );
  const pages = operators.flatMap((operator): [string, string][] => {
    const run = runs.get(operator.slug)!;
    const picture = { expression: operator.expression, recording: run.recording, title: `${operator.name} ${run.title}` };
    return [
      [`${OPERATORS}/${operator.slug}.svg`, diagramSvg(picture)],
      [`${OPERATORS}/${operator.slug}.md`, operatorPage(operator, run, operators)],
    ];
  });
  const laws = [...runs.values()].flatMap(({ cases }) => cases.filter(({ heading }) => heading === LAWS).flatMap(({ titles }) => titles));
  return new Map([
    ['docs/errors.md', errorsDocument()],
    ['docs/metrics.md', metricsDocument()],
    ['docs/system-events.md', systemEventsDocument()],
    ...pages,
    [`${OPERATORS}/legend.svg`, legendSvg()],
    [`${OPERATORS}/README.md`, indexPage(operators, GROUPS, [...new Set(laws)])],
  ]);
}

/** Files that differ from what would be made, and pages of operators that are no more. */
function staleFiles(made: ReadonlyMap<string, string>): string[] {
  const present = readdirSync(join(ROOT, OPERATORS)).map((name) => `${OPERATORS}/${name}`);
  const changed = [...made].filter(([path, text]) => readOr(path, '') !== text).map(([path]) => path);
  return [...changed, ...present.filter((path) => !made.has(path))].sort();
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(join(ROOT, path), 'utf8');
  } catch {
    return otherwise;
  }
}

function main(args: readonly string[]): number {
  if (args.some((arg) => arg !== '--check')) {
    process.stderr.write(
      'npm run docs            writes docs/errors.md, docs/metrics.md, docs/system-events.md and docs/operators\nnpm run docs -- --check  says which of them are stale\n',
    );
    return 2;
  }
  mkdirSync(join(ROOT, OPERATORS), { recursive: true });
  const made = makeAll();
  const stale = staleFiles(made);
  if (args.includes('--check')) {
    if (stale.length > 0) process.stderr.write(`stale, run \`npm run docs\`:\n${stale.map((path) => `  ${path}\n`).join('')}`);
    return stale.length > 0 ? 1 : 0;
  }
  for (const path of stale) {
    const file = join(ROOT, path);
    const text = made.get(path);
    mkdirSync(dirname(file), { recursive: true });
    if (text === undefined) rmSync(file);
    else writeFileSync(file, text);
    process.stdout.write(`${text === undefined ? 'removed' : 'wrote'} ${relative(process.cwd(), file)}\n`);
  }
  return 0;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
