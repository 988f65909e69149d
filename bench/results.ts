import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg } from 'node:os';

const README = new URL('README.md', import.meta.url);

/** Puts the report of a part between its marks in README.md, with when and on what it was made. Throws when the marks are not there. */
export async function writeResults(part: string, report: string): Promise<void> {
  const text = await readFile(README, 'utf8');
  const [begin, end] = [`<!-- ${part} -->\n`, `<!-- end of ${part} -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`README.md has no place for the results of ${part}`);
  await writeFile(README, `${text.slice(0, from)}${begin}${report.trim()}\n\n${conditions()}\n${text.slice(to)}`);
}

function conditions(): string {
  const date = new Date().toISOString().slice(0, 10);
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  const isChanged = execFileSync('git', ['status', '--porcelain'], { encoding: 'utf8' }) !== '';
  const load = loadavg()[1]!.toFixed(1);
  const on = `Node ${process.version}, ${availableParallelism()} cores, load average at the end ${load}`;
  return `*${date}, commit ${commit}${isChanged ? ' with changes' : ''}; ${on}.*`;
}
