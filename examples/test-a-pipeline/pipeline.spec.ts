import { expect, it } from '@jest/globals';
import { memorySink, testPipeline, virtualTime } from '../../lib/testing/index.ts';
import { users } from './pipeline.ts';

it('masks what it writes, flushes every five seconds, and loses nothing in a crash', () =>
  virtualTime(async ({ clock }) => {
    const test = testPipeline(users, { clock, sink: memorySink({ flushIntervalMs: 5000 }), tables: { users: ['!id', 'email'] } });
    test.feed('users@5{id:1,email:"ann@x.org"} 3s users@6{id:2,email:"bob@y.org"}');
    await test.advance(4000);
    expect(test.sink.rows('users')).toEqual([]); // accepted, and not durable before the interval has passed
    test.crash();
    test.restart();
    await test.advance(5000);
    expect(test.sink.rows('users')).toEqual([
      { id: '1', email: '***@x.org' },
      { id: '2', email: '***@y.org' },
    ]);
    await test.advance(200);
    expect(test.checkpointTs).toBe(6n);
  }));
