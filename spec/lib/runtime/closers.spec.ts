import { describe, expect, it } from '@jest/globals';
import { silentLogger } from '../../../lib/flow/index.ts';
import { Closers } from '../../../lib/runtime/closers.ts';
import { virtualTime } from '../../../lib/testing/index.ts';

describe('Closers', () => {
  const opened = (clock: ConstructorParameters<typeof Closers>[0]) => {
    const log: string[] = [];
    const warn = (details: object, message: string) => void log.push(`${message}: ${JSON.stringify(details)}`);
    const closers = new Closers(clock, { ...silentLogger, warn });
    const add = (part: string, close = async () => {}) =>
      closers.add(part, () => {
        log.push(part);
        return close();
      });
    return { log, closers, add };
  };

  it('closes in the reverse order of opening, each after the one before it, and each once', () =>
    virtualTime(async ({ clock }) => {
      const { log, closers, add } = opened(clock);
      add('a');
      add('b', async () => {
        await clock.sleep(1000);
        log.push('b is closed');
      });
      add('c');
      await closers.close('c');
      expect(log).toEqual(['c']);
      await closers.close();
      await closers.close();
      expect(log).toEqual(['c', 'b', 'b is closed', 'a']);
    }));

  it('is kept from closing the others neither by a part that fails, nor by one that throws at once, nor by one that hangs', () =>
    virtualTime(async ({ clock }) => {
      const { log, closers, add } = opened(clock);
      add('first');
      add('fails', () => Promise.reject(new Error('no')));
      add('throws', () => {
        throw new Error('at once');
      });
      add('hangs', () => new Promise(() => {}));
      await closers.close();
      expect(log).toEqual([
        'hangs',
        'a part did not close in time: {"part":"hangs","waited":"5s"}',
        'throws',
        'a part failed to close: {"part":"throws","reason":"at once"}',
        'fails',
        'a part failed to close: {"part":"fails","reason":"no"}',
        'first',
      ]);
      expect([clock.now(), clock.nextMs]).toEqual([5000, null]);
    }));

  it('closes the rest behind a part whose closing is under way: the next run may need what that part holds', () =>
    virtualTime(async ({ clock }) => {
      const { log, closers, add } = opened(clock);
      add('sink');
      add('source', async () => {
        await clock.sleep(1000);
        log.push('source is closed');
      });
      void closers.close('source');
      await closers.close();
      expect(log).toEqual(['source', 'source is closed', 'sink']);
    }));
});
