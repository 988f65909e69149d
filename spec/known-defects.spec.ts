import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';

/** Defects of TiCDC's cloud storage sink (spec storage-sink §12, "Found by reading", and what it marks (!)). Each has a test under its name: `grep -rn '#4177' spec`. */
const DEFECTS: readonly (readonly [name: string, what: string])[] = [
  ['#3745', 'a big delete waits for a flush tick per batch'],
  ['#4202', 'the checkpoint stands still under massive inserts'],
  ['#3784', 'the index is written before its data'],
  ['#3785', 'consumers lose rows by it'],
  ['#4177', 'a stale index makes a data file be written over'],
  ['#5690', 'a missing index makes an endless loop'],
  ['#4530', 'a data file that is written in part'],
  ['#4263', 'the checkpoint jumps over what is not durable'],
  ['#4269', 'the source is woken before the rows are accepted'],
  ['#4389', 'the drain of a schema change comes too late'],
  ['#4398', 'the same'],
  ['#4591', 'a row waits longer than the flush interval'],
  ['#5276', 'sweeps make small files'],
  ['#5274', 'a queue keeps the events alive'],
  ['#5275', 'the same'],
  ['#1943', 'stale rows after a restart'],
  ['#1948', 'the same'],
  ['#3371', 'an error of a multipart upload is swallowed'],
  ['#3374', 'an error of its completion is swallowed'],
  ['tiflow #12436', 'the same'],
  ['#4334', 'rows under a new name come before the rename'],
  ['#4430', 'a rename overtakes rows between two scans'],
  ['#4431', 'files beyond the checkpoint are consumed'],
  ['#5713', 'rows that fell back are not sorted'],
  ['#5824', 'the same'],
  ['#4000', 'what is pending is never counted down'],
  ['#4447', 'the infos of tables that are renamed together'],
  ['#2284', 'the infos of tables that are exchanged'],
  ['#1171', 'the same'],
  ['#1444', 'the same'],
  ['#5595', 'selected columns are not applied'],
  ['#2943', 'the checkpoint falls back'],
  ['#2945', 'the same'],
  ['#1239', 'a sink that is stuck'],
  ['#5956', 'batching without a bound'],
  ['tidb #71162', 'a part of a multipart upload is visible'],
  ['tiflow #9288', 'a checksum that does not match is a panic'],
  ['tiflow #10137', 'temporary schema files are read'],
  ['#10138', 'the same'],
  ['tiflow #10284', 'a folder of version 0'],
  ['tiflow #8256', 'two writers race for a file'],
  ['tiflow #8724', 'enable-partition-separator=false loses rows'],
  ['tiflow #8881', 'folders change without a schema change'],
  ['#8890', 'the same'],
  ['#8891', 'the same'],
  ['tiflow #8919', 'an index that outgrows its width'],
  ['tiflow #8153', 'stuck after the store was full'],
  ['tiflow #7860', 'two pipelines on one prefix'],
  ['tiflow #9592', 'two writers while a table moves'],
  ['#9618', 'the same'],
  ['tiflow #9086', 'updates of a key'],
  ['#10167', 'the same'],
  ['#11211', 'the same'],
  ['tiflow #9969', 'delimiters of several characters'],
  ['tiflow #10098', 'multipart uploads'],
  ['tiflow #10668', 'a layout that nobody reads, by a schema change of partitions'],
  ['tiflow #11458', 'a replayed schema change has another effect'],
  ['tiflow #8698', 'stuck at the close'],
  ['#9162', 'the same'],
  ['#10044', 'the same'],
  ['tiflow #12179', 'the header of csv'],
  ['tiflow #9609', 'clean-up that removes too early'],
  ['tiflow #9976', 'clean-up that fails'],
  ['#10109', 'the same'],
  ['hyp 1', 'a default that is no UTF-8'],
  ['hyp 2', 'virtual generated columns'],
  ['hyp 3', 'an enum of value 0'],
  ['hyp 4', 'names with separators'],
  ['hyp 5', 'a header with separators'],
  ['hyp 6', 'selectors and routed names'],
  ['hyp 7', 'waits that nobody ends'],
  ['hyp 8', 'the folder of the spool at a restart'],
  ['hyp 9', 'texts of dispatchers'],
  ['hyp 10', 'folders that dispatchers share'],
  ['hyp 11', 'a version cached before its schema file is written'],
  ['hyp 12', 'the width of numbers, on both sides'],
  ['hyp 13', 'disk use beyond the quota, and a disk that stalls'],
  ['(!) §2.1', 'waits at the close; the folder at a restart'],
  ['(!) §2.2', 'memory grows with the disk quota'],
  ['(!) §2.6', 'waits for the interval of other shards'],
  ['(!) §2.7', 'disk use beyond the quota'],
  ['(!) §3', 'woken at the first event of a batch'],
  ['(!) §4.1', 'a drain hangs when the pipeline fails; its duration is 0'],
  ['(!) §4.3', 'a held block event is not drained'],
  ['(!) §5.1', 'names are not escaped; texts of dispatchers'],
  ['(!) §5.6', 'probe and write are not one step'],
  ['(!) §6.1', 'a bare header; an enum of value 0'],
  ['(!) §6.2', 'random order of keys'],
  ['(!) §7.1', 'an explicit false or 0 counts for nothing'],
  ['(!) §8', 'a drain takes 0 seconds'],
  ['(!) §9.3', 'a name with a date in it is cleaned up; clean-up runs once'],
];

/** Those that nothing here can have. */
const NOT_OURS: readonly (readonly [name: string, why: string])[] = [
  ['#4219, #5256, #5483', 'collections of work on the spool; its parts are the specs of lib/spool'],
  ['#2031', 'a data race between threads: rows pass through one; what IO lets interleave is in the simulations'],
  ['#5936', 'the redo log uses the spool: there is no redo log'],
  ['tiflow #6797', 'the collection of work on the first sink'],
];

const ROOT = new URL('.', import.meta.url);

/** Every spec but this one, without its comments. */
function titles(): string {
  const files = readdirSync(ROOT, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.spec.ts'));
  const texts = files.filter((file) => file !== 'known-defects.spec.ts').map((file) => readFileSync(new URL(file, ROOT), 'utf8'));
  return texts.join('\n').replace(/^\s*(?:\/\*\*|\*|\/\/).*$/gm, '');
}

describe('known defects', () => {
  const all = titles();

  it.each(DEFECTS)('%s has a test under its name: %s', (name) => {
    const escaped = name.replace('tiflow ', '').replace(/[().§!]/g, '\\$&');
    expect(new RegExp(`${escaped}(?!\\d)`).test(all)).toBe(true);
  });

  it('stand in one list each, once', () => {
    const names = [...DEFECTS, ...NOT_OURS].flatMap(([name]) => name.split(', '));
    expect(new Set(names).size).toBe(names.length);
  });
});
