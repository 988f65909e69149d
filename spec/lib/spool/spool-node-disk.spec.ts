import { mkdtemp, open, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { TwoStageAck } from '../../../lib/events/index.ts';
import { Gauge, silentLogger, systemClock } from '../../../lib/flow/index.ts';
import { Spool, spoolFolder, spoolLimits } from '../../../lib/spool/index.ts';
import { contentOf, message } from './world.ts';

const LIMITS = spoolLimits({ diskQuotaBytes: 1_000_000, memoryBytes: 1, segmentBytes: 100_000 });

/** What a simulated disk only resembles. */
describe("Spool on this machine's disk", () => {
  let base = '';
  beforeAll(async () => {
    base = await mkdtemp(join(tmpdir(), 'millrace-spool-'));
  });
  afterAll(() => rm(base, { recursive: true }));

  const openSpool = (folder: string) =>
    Spool.open({
      folder,
      limits: LIMITS,
      context: { clock: systemClock, gauge: new Gauge(), logger: silentLogger },
      onFailure: (error) => {
        throw error;
      },
    });

  /** Takes messages in and waits until all are accepted. */
  const fill = (spool: Spool, names: string, bytes: number) =>
    Promise.all(
      [...names].map(
        (name) =>
          new Promise<ReturnType<Spool['enqueue']>>((resolve) => {
            const ack = new TwoStageAck();
            ack.addPostEnqueue(() => resolve(entry));
            const entry = spool.enqueue(message(name, bytes, ack));
          }),
      ),
    );

  it('gives back what it wrote, file by file, and leaves no file behind', async () => {
    const folder = spoolFolder('orders', base);
    const spool = await openSpool(folder);
    const names = 'abcdefghijklmnopqrst';
    const entries = await fill(spool, names, 30_000);
    expect(await readdir(folder)).toEqual([1, 2, 3, 4, 5, 6, 7].map((id) => `segment-00000${id}.log`));
    expect((await contentOf(spool, entries)).value).toBe([...names].map((name) => name.repeat(29_984)).join(''));
    if (process.platform !== 'win32') expect((await stat(folder)).mode & 0o777).toBe(0o700);
    await expect(openSpool(folder)).rejects.toMatchObject({ code: 'MR_STATE_LOCKED' });
    for (const entry of entries) entry.flushed();
    await spool.close();
    expect((await readdir(base)).filter((name) => !name.includes('.lock.'))).toEqual([]);
    await (await openSpool(folder)).close();
  });

  it('notices that a file was changed behind its back', async () => {
    const folder = spoolFolder('changed', base);
    const spool = await openSpool(folder);
    const entries = await fill(spool, 'ab', 1000);
    const file = await open(join(folder, 'segment-000001.log'), 'r+');
    await file.write('!', 1500);
    await file.close();
    expect((await contentOf(spool, entries.slice(0, 1))).value).toBe('a'.repeat(984));
    await expect(contentOf(spool, entries.slice(1))).rejects.toMatchObject({ code: 'MR_SPOOL_CORRUPT', details: { offset: 1000 } });
    await spool.close();
  });

  it('reads on from files whose folder was deleted (spec storage-sink §2.7)', async () => {
    const folder = spoolFolder('deleted', base);
    const spool = await openSpool(folder);
    const entries = await fill(spool, 'ab', 1000);
    await rm(folder, { recursive: true });
    expect((await contentOf(spool, entries)).value).toBe('a'.repeat(984) + 'b'.repeat(984));
    await spool.close();
  });
});
