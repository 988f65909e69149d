import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Recording } from '../../lib/testing/index.ts';
import type { RecordedTest } from '../../spec/support/marbles.ts';

/** What a passing run of one operator's spec says. */
export interface SpecRun {
  /** The case that the diagram shows. */
  readonly title: string;
  readonly recording: Recording;
  /** All titles but that one, by the `describe` blocks around them. */
  readonly cases: readonly CaseGroup[];
}

export interface CaseGroup {
  /** Without the operator's own name; empty for cases right below it. */
  readonly heading: string;
  readonly titles: readonly string[];
}

/** The heading of the cases that `spec/support/operator-laws.ts` adds to every spec. */
export const LAWS = 'like every operator';

interface JestReport {
  readonly success: boolean;
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly { readonly ancestorTitles: readonly string[]; readonly title: string; readonly fullName: string }[];
  }[];
}

/** Runs the specs of the operators with recording on. By slug; throws when a case fails. */
export function runOperatorSpecs(root: string, slugs: readonly string[]): ReadonlyMap<string, SpecRun> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-docs-'));
  try {
    const report = runJest(root, folder);
    const recorded = readdirSync(folder).map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as RecordedTest);
    return new Map(slugs.map((slug) => [slug, specRunOf(slug, report, recorded)]));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function runJest(root: string, folder: string): JestReport {
  const output = join(folder, '..', `${basename(folder)}.json`);
  const args = ['--experimental-vm-modules', '--no-warnings', join(root, 'node_modules/jest/bin/jest.js'), 'spec/operators/'];
  const { stderr } = spawnSync(process.execPath, [...args, '--json', '--silent', `--outputFile=${output}`], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, MILLRACE_RECORD_DIAGRAMS: folder },
  });
  try {
    const report = JSON.parse(readFileSync(output, 'utf8')) as JestReport;
    const failures = report.testResults.map(({ message }) => message).join('\n');
    if (!report.success) throw new Error(`the specs of the operators fail, so there is nothing to draw:\n${failures}`);
    return report;
  } catch (error) {
    throw error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT'
      ? new Error(`jest gave no report:\n${stderr}`)
      : error;
  } finally {
    rmSync(output, { force: true });
  }
}

function specRunOf(slug: string, report: JestReport, recorded: readonly RecordedTest[]): SpecRun {
  const spec = `spec/operators/${slug}.spec.ts`;
  const file = report.testResults.find(({ name }) => basename(name) === basename(spec));
  if (file === undefined) throw new Error(`there is no ${spec}`);
  const isLaw = (test: string) =>
    file.assertionResults.some(({ fullName, ancestorTitles }) => fullName === test && ancestorTitles.includes(LAWS));
  const [first] = recorded.filter((other) => other.spec === spec && !isLaw(other.test)).sort((a, b) => a.order - b.order);
  if (first === undefined) throw new Error(`no case of ${spec} is a marble test: its first one is the operator's diagram`);
  const { test, recording } = first;
  const drawn = file.assertionResults.find(({ fullName }) => fullName === test);
  if (drawn === undefined) throw new Error(`${spec} does not have the case that was recorded: ${test}`);
  const groups = new Map<string, string[]>();
  for (const { ancestorTitles, title, fullName } of file.assertionResults) {
    const heading = ancestorTitles.slice(1).join(': ');
    const titles = groups.get(heading) ?? [];
    groups.set(heading, titles);
    if (fullName !== test) titles.push(title);
  }
  const cases = [...groups].filter(([, titles]) => titles.length > 0).map(([heading, titles]) => ({ heading, titles }));
  return { title: drawn.title, recording, cases };
}
