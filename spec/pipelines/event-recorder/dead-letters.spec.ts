import { describe, expect, it } from '@jest/globals';
import { SimDisk, Simulation } from '../../../lib/testing/index.ts';
import { acceptEvent } from '../../../pipelines/event-recorder/accept-event.ts';
import { type DeadLetters, deadLetterFile } from '../../../pipelines/index.ts';

const PATH = '/data/letters.jsonl';

function letters(...payloads: unknown[]): DeadLetters {
  const events = payloads.map((payload, n) => acceptEvent({ type: 'a', payload }, { id: `id-${n}`, seq: BigInt(n), timestampNs: 5n }));
  return { events, reason: 'rejected', error: 'bad column', atMs: 1000 };
}

async function linesOf(disk: SimDisk): Promise<unknown[]> {
  const text = (await disk.readFile(PATH)).toString();
  return text.split('\n').flatMap((line) => {
    try {
      return line === '' ? [] : [JSON.parse(line) as unknown];
    } catch {
      return ['(cut)'];
    }
  });
}

describe('deadLetterFile', () => {
  it('keeps each letter as a line of JSON that says why, durable when the call resolves', async () => {
    const disk = new SimDisk(new Simulation(1));
    await deadLetterFile(PATH, { disk }).write(letters('x', { deep: [1] }));
    disk.crash();
    expect(await linesOf(disk)).toEqual([
      {
        reason: 'rejected',
        error: 'bad column',
        at: '1970-01-01T00:00:01.000Z',
        event: { id: 'id-0', seq: '0', timestampNs: '5', type: 'a', table: 'events', payload: '"x"', bytes: expect.any(Number) },
      },
      expect.objectContaining({ event: expect.objectContaining({ payload: '{"deep":[1]}' }) }),
    ]);
  });

  it('goes on behind a line that a crash has cut short', async () => {
    const disk = new SimDisk(new Simulation(1));
    const first = deadLetterFile(PATH, { disk });
    await first.write(letters('x'));
    await first.close?.();
    const torn = await disk.open(PATH, 'a');
    await torn.write([Buffer.from('{"reason":"rej')]);
    await torn.sync();
    await deadLetterFile(PATH, { disk }).write(letters('y'));
    const found = await linesOf(disk);
    expect(found).toEqual([expect.objectContaining({ reason: 'rejected' }), '(cut)', expect.objectContaining({ reason: 'rejected' })]);
  });

  it('refuses letters beyond its quota, and goes on when there is room', async () => {
    const disk = new SimDisk(new Simulation(1));
    const store = deadLetterFile(PATH, { disk, quota: 400 });
    await store.write(letters('x'));
    await expect(store.write(letters('y'.repeat(300)))).rejects.toMatchObject({ code: 'MR_EVENT_DEAD_LETTERS_FULL' });
    expect(await linesOf(disk)).toHaveLength(1);
  });

  it('refuses a path that is not absolute, at once', () => {
    expect(() => deadLetterFile('letters.jsonl')).toThrow(expect.objectContaining({ code: 'MR_INVALID_OPTION' }));
  });
});
