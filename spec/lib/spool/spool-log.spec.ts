import { describe, expect, it } from '@jest/globals';
import { silentLogger } from '../../../lib/flow/index.ts';
import type { Place, Segment } from '../../../lib/spool/segment-files.ts';
import { takeSpoolFolder } from '../../../lib/spool/spool-folder.ts';
import { SpoolLog, type SpoolLogParts } from '../../../lib/spool/spool-log.ts';
import { SimDisk, Simulation } from '../../../lib/testing/index.ts';

const FOLDER = '/data/log';
const records = (...texts: string[]) => texts.map((text) => ({ key: Buffer.from(text.slice(0, 1)), value: Buffer.from(text) }));
const letters = (...names: string[]) => names.map((name) => name.repeat(90));

function world() {
  const disk = new SimDisk(new Simulation(1));
  const found: string[] = [];
  const files: Segment[] = [];
  const open = (parts: Partial<SpoolLogParts> = {}) => {
    found.length = 0;
    const onRecord: SpoolLogParts['onRecord'] = ({ value }, segment) => {
      found.push(`${segment.id}:${value}`);
      if (!files.includes(segment)) files.push(segment);
      return true;
    };
    return SpoolLog.open({ folder: FOLDER, disk, logger: silentLogger, segmentBytes: 100, syncs: true, onRecord, ...parts });
  };
  /** One record after the other; their files. */
  const write = async (log: SpoolLog, ...texts: string[]) => {
    const written: Segment[] = [];
    for (const text of texts) written.push((await log.append(records(text), 1))[0]!.segment);
    return written;
  };
  const all = async (log: SpoolLog, from: Place | null = null, maxBytes = 1000) => {
    const texts: string[] = [];
    for (let part = await log.read(from, maxBytes); part !== null; part = await log.read(part.next, maxBytes)) {
      texts.push(...part.entries.map(({ value }) => value.toString()));
    }
    return texts;
  };
  const names = async () => (await disk.list(FOLDER)).map(({ name }) => name);
  return { disk, open, write, all, found, files, names };
}

describe('SpoolLog', () => {
  it('gives back what was appended, from any place on, over files and over a crash', async () => {
    const { disk, open, all, found, names } = world();
    const log = await open();
    const places = [...(await log.append(records('a1', 'b2'), 2)), ...(await log.append(records('c3'), 1))];
    await log.append(records('d4'), 1);
    expect(await names()).toEqual(['log-000001.log', 'log-000002.log']);
    expect(await all(log)).toEqual(['a1', 'b2', 'c3', 'd4']);
    expect(await all(log, places[1])).toEqual(['b2', 'c3', 'd4']);
    expect(await all(log, places[2])).toEqual(['c3', 'd4']);
    disk.crash();
    const again = await open();
    expect(found).toEqual(['1:a1', '1:b2', '1:c3', '2:d4']);
    await again.append(records('e5'), 1);
    expect(await all(again)).toEqual(['a1', 'b2', 'c3', 'd4', 'e5']);
    expect(await names()).toEqual(['log-000001.log', 'log-000002.log', 'log-000003.log']);
  });

  it('reads a record that is larger than what is asked for', async () => {
    const { open, all } = world();
    const log = await open();
    await log.append(records('a', 'b'.repeat(500), 'c'), 3);
    expect((await all(log, null, 40)).map(({ length }) => length)).toEqual([1, 500, 1]);
  });

  it('forgets files that are not needed, from the oldest, never the newest, whose number the next one goes on from', async () => {
    const { open, write, all, names, found } = world();
    const log = await open();
    const [a, b, c] = await write(log, ...letters('a', 'b', 'c'));
    log.release(b!);
    log.release(c!);
    expect((await all(log)).map((text) => text[0])).toEqual(['a']);
    log.release(a!);
    await log.close();
    expect(await names()).toEqual(['log-000003.log']);
    const again = await open();
    expect(found).toEqual([`3:${'c'.repeat(90)}`]);
    expect(again.bytes).toBe(8 + 16 + 1 + 90);
    await again.append(records('d'), 1);
    expect(await names()).toEqual(['log-000003.log', 'log-000004.log']);
  });

  it('forgets at the start what its reader does not need, once something newer is there', async () => {
    const { open, write, files, names } = world();
    await (await open()).close();
    const first = await open();
    await write(first, ...letters('a', 'b', 'c'));
    await first.close();
    const again = await open();
    for (const file of files) again.release(file, 1);
    await write(again, 'd');
    await again.close();
    expect(await names()).toEqual(['log-000004.log']);
  });

  it('keeps the newest record that was needed also over a start that finds others behind it: it tells how far the log has come', async () => {
    const { open, write, names } = world();
    const isNeeded: SpoolLogParts['onRecord'] = ({ key }) => key.toString() !== 's';
    const first = await open({ onRecord: isNeeded });
    const [a] = await write(first, ...letters('a'));
    first.release(a!);
    await first.append(records(...letters('s')), 0);
    await first.close();
    expect(await names()).toEqual(['log-000001.log', 'log-000002.log']);
    const needed: Segment[] = [];
    const again = await open({ onRecord: (record, segment) => isNeeded(record, segment) && needed.push(segment) > 0 });
    again.release(needed[0]!);
    await again.close();
    expect(await names()).toEqual(['log-000001.log', 'log-000002.log']);
  });

  it('keeps what stands behind a file that could not be removed, since it may tell what became of that, and tries again', async () => {
    const { disk, open, write, names } = world();
    const log = await open();
    const [a, b, c] = await write(log, ...letters('a', 'b', 'c', 'd'));
    const honest = disk.remove.bind(disk);
    let failures = 0;
    disk.remove = (path) => (failures++ === 0 ? Promise.reject(new Error('EIO')) : honest(path));
    log.release(a!);
    log.release(b!);
    await Promise.resolve();
    const before = log.bytes;
    log.release(c!);
    await log.close();
    expect([failures > 1, before, await names()]).toEqual([true, 4 * 115, ['log-000004.log']]);
  });

  it('never writes again to a file in which a write has failed; one without anything else goes', async () => {
    const { disk, open, write, all, names } = world();
    const log = await open({ segmentBytes: 1000 });
    await write(log, 'a');
    disk.resize(disk.usedBytes + 30);
    for (let file = 1; file <= 2; file++) await expect(write(log, 'b'.repeat(90))).rejects.toMatchObject({ code: 'ENOSPC' });
    disk.resize(1000);
    await write(log, 'c');
    expect(await all(log)).toEqual(['a', 'c']);
    expect(await names()).toEqual(['log-000001.log', 'log-000003.log']);
  });

  it('comes in the order of its files, also where their numbers have become longer than six digits', async () => {
    const { disk, open, write, found } = world();
    const log = await open();
    await write(log, ...letters('a', 'b'));
    await log.close();
    await disk.rename(`${FOLDER}/log-000001.log`, `${FOLDER}/log-999999.log`);
    await disk.rename(`${FOLDER}/log-000002.log`, `${FOLDER}/log-1000000.log`);
    await open();
    expect(found.map((text) => text.slice(0, -89))).toEqual(['999999:a', '1000000:b']);
  });

  it('is of one process', async () => {
    const { open } = world();
    const log = await open();
    await expect(open()).rejects.toMatchObject({ code: 'MR_STATE_LOCKED' });
    await log.close();
    await (await open()).close();
  });

  it('loses nothing to a spool that is given its folder by mistake', async () => {
    const { disk, open, found, write } = world();
    const log = await open();
    await write(log, 'a');
    await log.close();
    await (await takeSpoolFolder(FOLDER, disk)).release();
    await open();
    expect(found).toEqual(['1:a']);
  });
});
