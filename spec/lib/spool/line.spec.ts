import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Line } from '../../../lib/spool/line.ts';

describe('Line', () => {
  it('is a queue whose members may leave from anywhere', () => {
    const actions = fc.array(fc.record({ do: fc.constantFrom('push', 'push', 'shift', 'leave'), pick: fc.nat() }), { maxLength: 400 });
    fc.assert(
      fc.property(actions, (list) => {
        const gone = new Set<number>();
        const line = new Line<number>((item) => !gone.has(item));
        let model: number[] = [];
        let next = 0;
        for (const { do: what, pick } of list) {
          if (what === 'push') {
            line.push(next);
            model.push(next++);
          } else if (what === 'shift') {
            const item = line.shift();
            expect(item).toBe(model.shift() ?? null);
            if (item !== null) gone.add(item);
          } else if (model.length > 0) {
            const item = model[pick % model.length]!;
            model = model.filter((other) => other !== item);
            gone.add(item);
            line.leave();
          }
          expect([line.size, line.first()]).toEqual([model.length, model[0] ?? null]);
        }
      }),
    );
  });

  it('forgets who has left, though the first one never moves', () => {
    const asked: number[] = [];
    const gone = new Set<number>();
    const line = new Line<number>((item) => {
      asked.push(item);
      return !gone.has(item);
    });
    line.push(0);
    for (let item = 1; item < 10_000; item++) {
      line.push(item);
      gone.add(item);
      line.leave();
    }
    // Each was looked at a few times, not 10,000 times.
    expect(asked.length).toBeLessThan(30_000);
    expect([line.size, line.shift(), line.shift()]).toEqual([1, 0, null]);
  });
});
