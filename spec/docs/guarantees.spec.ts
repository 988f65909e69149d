import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';

/** `— [file]: title` at the end of a sentence. */
const REFERENCE = /\[`(spec\/[^`]+)`\]\(\.\.\/([^)]+)\):\s+“([^”]+)”/g;

describe('docs/guarantees.md', () => {
  it('names for each sentence on stores and files a test that exists', async () => {
    const document = (await readFile('docs/guarantees.md', 'utf8')).replace(/\s+/g, ' ');
    const references = [...document.matchAll(REFERENCE)].map(([, shown, linked, title]) => ({
      shown: shown!,
      linked: linked!,
      title: title!,
    }));
    expect(references.length).toBeGreaterThan(20);
    const missing: string[] = [];
    for (const { shown, linked, title } of references) {
      expect(linked).toBe(shown);
      const spec = await readFile(shown, 'utf8');
      if (!spec.includes(title)) missing.push(`${shown}: ${title}`);
    }
    expect(missing).toEqual([]);
  });

  it('leaves no promise of these sections without a test', async () => {
    const document = await readFile('docs/guarantees.md', 'utf8');
    const between = (from: string, to: string) => document.slice(document.indexOf(from), document.indexOf(to));
    const sections = [between('## Files', '## The state folder'), between('## Memory', '## Not promised')];
    const bullets = sections.flatMap((section) => section.split(/^- /m).slice(1));
    expect(bullets.length).toBeGreaterThan(20);
    expect(bullets.filter((bullet) => !bullet.includes('spec/')).map((bullet) => bullet.slice(0, 60))).toEqual([]);
  });
});
