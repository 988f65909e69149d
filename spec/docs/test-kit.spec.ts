import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { eventMarbles } from '../../lib/testing/index.ts';
import { parseDiagram } from '../../lib/testing/marbles/diagram.ts';
import { failureOf } from '../lib/testing/marbles/failure-of.ts';
import { documentedBlocks, EXAMPLES_PARENT, runBlocks, writeModules } from '../support/examples.ts';

const page = (name: string) => readFile(name, 'utf8');

/** What the first column of a section's table has, piece by piece. */
async function notationsOf(section: string): Promise<string[]> {
  const [, text = ''] = (await page('docs/event-marbles.md')).split(`## ${section}\n`);
  const rows = text.slice(0, text.indexOf('\n## ')).matchAll(/^\| (`.*?) \| /gm);
  return [...rows].flatMap(([, cell]) => [...cell!.matchAll(/`(.+?)`/g)].map(([, notation]) => notation!));
}

describe('the pages of the test kit', () => {
  it('event-marbles.md shows events as they are written', async () => {
    const notations = (await notationsOf('Events')).filter((notation) => /[a-z]/.test(notation) && notation !== 'null');
    expect(notations.length).toBeGreaterThan(25);
    const refused = notations.filter((notation) => !/^"a, b"$/.test(notation) && !isRead(notation));
    expect(refused).toEqual([]);
  });

  it('event-marbles.md shows a difference as it is printed', async () => {
    const [, shown = ''] = /```\n(MR_MARBLES_DIFFER.*?)\n```/s.exec(await page('docs/event-marbles.md')) ?? [];
    const [reason = '', diagrams = ''] = shown.split(' …\n');
    const { message } = failureOf(() =>
      eventMarbles(({ events, expectEvents }) =>
        expectEvents(events('users@5---------log@6-users@7-|')).toBe('users@5---------------users@7-|'),
      ),
    );
    expect(message.startsWith(reason)).toBe(true);
    expect(message.endsWith(`${diagrams}\n`)).toBe(true);
  });

  it('simulator.md shows the failure of its example as it is printed', async () => {
    const document = 'docs/simulator.md';
    const [, shown = ''] = /```text\n(.*?)\n```/s.exec(await page(document)) ?? [];
    const block = (await documentedBlocks()).find((candidate) => candidate.document === document)!;
    const telling = { ...block, code: block.code.replace("error.details['invariant']", 'error.message') };
    await mkdir(EXAMPLES_PARENT, { recursive: true });
    const dir = await mkdtemp(join(EXAMPLES_PARENT, 'docs-simulator-'));
    try {
      await writeModules(dir, [telling]);
      const [result] = await runBlocks(dir, [telling]);
      expect(result!.failure).toBe(null);
      expect(withoutHash(result!.printed.at(-1)!)).toBe(withoutHash(shown));
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  it('the test of a pipeline in examples has the 20 lines that README.md says', async () => {
    expect(await page('README.md')).toContain('[a test of 20 lines](examples/test-a-pipeline/pipeline.spec.ts)');
    expect((await page('examples/test-a-pipeline/pipeline.spec.ts')).trimEnd().split('\n').length).toBeLessThanOrEqual(20);
  });
});

function isRead(notation: string): boolean {
  try {
    parseDiagram(notation.startsWith('…') ? `a@5${notation.slice(1)}` : notation);
    return true;
  } catch {
    return false;
  }
}

/** It is another with each change of what the simulator does. */
function withoutHash(message: string): string {
  return message.replace(/trace hash \w{16}/, 'trace hash');
}
