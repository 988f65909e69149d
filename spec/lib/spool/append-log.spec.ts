import { describe, expect, it } from '@jest/globals';
import { silentLogger } from '../../../lib/flow/index.ts';
import { AppendLog, type AppendLogParts, type LogCursor } from '../../../lib/spool/append-log.ts';
import { SimDisk, Simulation } from '../../../lib/testing/index.ts';

const FOLDER = '/data/log';
const START: LogCursor = { segment: 0, offset: 0 };
const records = (...texts: string[]) => texts.map((text) => ({ key: Buffer.from(text.slice(0, 1)), value: Buffer.from(text) }));

function world() {
  const disk = new SimDisk(new Simulation(1));
  const found: string[] = [];
  const open = (parts: Partial<AppendLogParts> = {}) => {
    found.length = 0;
    const onRecord: AppendLogParts['onRecord'] = ({ value }, segment) => found.push(`${segment}:${value}`);
    return AppendLog.open({ folder: FOLDER, disk, logger: silentLogger, segmentBytes: 100, syncs: true, onRecord, ...parts });
  };
  const all = async (log: AppendLog, from = START, maxBytes = 1000) => {
    const texts: string[] = [];
    for (let cursor: LogCursor | null = from; cursor !== null; ) {
      const part: Awaited<ReturnType<AppendLog['read']>> = await log.read(cursor, maxBytes);
      texts.push(...(part?.entries ?? []).map(({ value }) => value.toString()));
      cursor = part?.next ?? null;
    }
    return texts;
  };
  const names = async () => (await disk.list(FOLDER)).map(({ name }) => name);
  return { disk, open, all, found, names };
}

describe('AppendLog', () => {
  it('gives back what was appended, from any place on, over files and over a crash', async () => {
    const { disk, open, all, found, names } = world();
    const log = await open();
    const places = await log.append(records('a1', 'b2'));
    await log.append(records('c3'));
    await log.append(records('d4'));
    expect(await names()).toEqual(['log-000001.log', 'log-000002.log']);
    expect(await all(log)).toEqual(['a1', 'b2', 'c3', 'd4']);
    expect(await all(log, places[1])).toEqual(['b2', 'c3', 'd4']);
    expect(await all(log, places[2])).toEqual(['c3', 'd4']);
    disk.crash();
    const again = await open();
    expect(found).toEqual(['1:a1', '1:b2', '1:c3', '2:d4'].slice(0, found.length));
    expect(found).toHaveLength(4);
    await again.append(records('e5'));
    expect(await all(again)).toEqual(['a1', 'b2', 'c3', 'd4', 'e5']);
    expect(await names()).toEqual(['log-000001.log', 'log-000002.log', 'log-000003.log']);
  });

  it('reads a record that is larger than what is asked for', async () => {
    const { open, all } = world();
    const log = await open();
    await log.append(records('a', 'b'.repeat(500), 'c'));
    expect((await all(log, START, 40)).map(({ length }) => length)).toEqual([1, 500, 1]);
  });

  it('forgets files from the oldest, never the one that is written', async () => {
    const { open, all, names } = world();
    const log = await open();
    for (const text of ['a'.repeat(90), 'b'.repeat(90), 'c'.repeat(90)]) await log.append(records(text));
    log.removeBefore(3);
    await log.close();
    expect(await names()).toEqual(['log-000003.log']);
    const again = await open();
    expect((await all(again)).map((text) => text[0])).toEqual(['c']);
    expect(again.bytes).toBe(8 + 16 + 1 + 90);
  });

  it('never writes again to a file in which a write has failed', async () => {
    const sim = new Simulation(1);
    const disk = new SimDisk(sim, { capacityBytes: 150 });
    const log = await AppendLog.open({ folder: FOLDER, disk, logger: silentLogger, segmentBytes: 1000, syncs: true, onRecord: () => {} });
    await log.append(records('a'.repeat(50)));
    await expect(log.append(records('b'.repeat(90)))).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(log.activeSegment).toBe(2);
    const { all } = world();
    expect(await all(log)).toEqual(['a'.repeat(50)]);
  });

  it('is of one process', async () => {
    const { open } = world();
    const log = await open();
    await expect(open()).rejects.toMatchObject({ code: 'MR_STATE_LOCKED' });
    await log.close();
    await (await open()).close();
  });
});
