import { describe, expect, it } from '@jest/globals';
import { MillraceError } from '../../../lib/errors.ts';
import { createContext } from '../../../lib/flow/index.ts';
import { virtualTime } from '../../../lib/testing/index.ts';
import { buildRows, type DeadLetters, EventRejectedError, eventRecorder } from '../../../pipelines/index.ts';
import { type Behaviour, event, failing, never, numbers, record, rejection, ScriptedHandler, takes, withRecorder } from './recorder-kit.ts';

describe('retries', () => {
  it('C5.8: waits 1666, 3332 and 5000 ms: four calls', () =>
    withRecorder({}, failing(3), async ({ clock, handler, recorder }) => {
      record(recorder, 1, 100);
      await clock.advance(60_000);
      expect(handler.calls.map(({ atMs, attempt }) => [atMs, attempt])).toEqual([
        [0, 1],
        [1666, 2],
        [4998, 3],
        [9998, 4],
      ]);
      expect(recorder.status()).toMatchObject({ delivered: 100, failures: 3, retries: 3, failuresInARow: 0, lastError: null });
    }));

  it('C5.9: applies the policy when the last call has failed, and goes on with the next batch', () =>
    withRecorder({ lossSummary: false }, failing(4), async ({ clock, handler, recorder }) => {
      record(recorder, 1, 200);
      await clock.advance(10_000);
      expect(handler.calls).toHaveLength(5);
      expect(handler.taken).toEqual(numbers(101, 200));
      expect(recorder.status()).toMatchObject({ delivered: 100, dropped: { exhausted: 100 } });
    }));

  it('C5.9: keep tries for ever', () =>
    withRecorder({ whenExhausted: 'keep' }, failing(20), async ({ clock, handler, recorder }) => {
      record(recorder, 1, 100);
      await clock.advance(200_000);
      expect(handler.taken).toEqual(numbers(1, 100));
      expect(recorder.status()).toMatchObject({ delivered: 100, failures: 20 });
    }));

  it('C5.10: with no retries makes one call', () =>
    withRecorder({ retry: { retries: 0 } }, failing(9), async ({ clock, handler, recorder }) => {
      record(recorder, 1, 100);
      await clock.advance(1000);
      expect(handler.calls).toHaveLength(1);
      expect(recorder.status().dropped.exhausted).toBe(100);
    }));

  it('W11: with full jitter waits for a part of each delay', () =>
    withRecorder({ retry: { jitter: 'full' } }, failing(3), async ({ clock, handler, recorder }) => {
      record(recorder, 1, 100);
      await clock.advance(60_000);
      const at = handler.calls.map(({ atMs }) => atMs);
      const delays = at.slice(1).map((ms, i) => ms - at[i]!);
      expect(delays).toHaveLength(3);
      expect(delays.every((ms, i) => ms < [1666, 3332, 5000][i]!)).toBe(true);
      expect(recorder.status().delivered).toBe(100);
    }));

  it('W11: begins no retry behind its overall deadline, and applies the policy then', () =>
    withRecorder({ retry: { deadline: '6s' }, lossSummary: false }, failing(3), async ({ clock, handler, recorder }) => {
      await clock.advance(1000);
      record(recorder, 1, 200);
      await clock.advance(60_000);
      // The third retry would have begun 9998 ms behind the first failure.
      expect(handler.log.map(([atMs, first]) => [atMs, first])).toEqual([
        [1000, 1],
        [2666, 1],
        [5998, 1],
        [5998, 101],
      ]);
      expect(recorder.status()).toMatchObject({ delivered: 100, dropped: { exhausted: 100 } });
    }));

  it('W11: keep knows no deadline', () =>
    withRecorder({ whenExhausted: 'keep', retry: { deadline: 0 } }, failing(5), async ({ clock, handler, recorder }) => {
      record(recorder, 1, 100);
      await clock.advance(60_000);
      expect(handler.taken).toEqual(numbers(1, 100));
    }));

  it('W11: says by itself which errors are worth a retry', () =>
    withRecorder(
      { lossSummary: false },
      () => {
        throw new MillraceError('MR_EVENT_GROUP_MIXED', { expected: 'a', found: 'b' });
      },
      async ({ clock, handler, recorder }) => {
        recorder.record(event('a'));
        await clock.advance(60_000);
        expect(handler.calls).toHaveLength(1);
        expect(recorder.status().dropped.rejected).toBe(1);
      },
    ));

  it('W11: asks the predicate which errors may pass; those that may not are as if the target had refused the events', () =>
    withRecorder(
      { lossSummary: false, retry: { retryable: (error) => !String(error).includes('no such column') } },
      ({ payloads, attempt }) => {
        if (payloads.includes(3)) throw new Error('no such column');
        if (attempt === 1) throw new Error('busy');
      },
      async ({ clock, handler, recorder }) => {
        record(recorder, 1, 4);
        await clock.advance(60_000);
        // Halves find the one that is to blame, and nobody waits for it.
        expect(handler.log.filter(([, ...payloads]) => payloads.includes(3))).toEqual([
          [5000, 1, 2, 3, 4],
          [6666, 3, 4],
          [6666, 3],
        ]);
        expect(handler.taken.sort()).toEqual([1, 2, 4]);
        expect(recorder.status()).toMatchObject({ delivered: 3, dropped: { rejected: 1, exhausted: 0 } });
      },
    ));

  it('W11: asks once for each call that fails, and goes by that answer', () => {
    let asked = 0;
    return withRecorder(
      { whenExhausted: 'keep', batchEvents: 4, retry: { retryable: () => ++asked % 2 === 0 } },
      failing(2),
      async ({ clock, handler, recorder }) => {
        record(recorder, 1, 4);
        await clock.advance(60_000);
        expect([asked, handler.taken.sort()]).toEqual([2, [1, 2, 3, 4]]);
        expect(recorder.status()).toMatchObject({ delivered: 4, dropped: { exhausted: 0, rejected: 0 } });
      },
    );
  });

  const refuses = { retryable: () => false };
  let busy = async () => {};

  it('W11: does not ask about a call that was late, because nobody knows what became of it', () =>
    withRecorder({ handlerTimeout: '1s', retry: refuses, lossSummary: false }, never, async ({ clock, handler, recorder }) => {
      record(recorder, 1, 100);
      await clock.advance(60_000);
      expect(handler.calls).toHaveLength(4);
      expect(recorder.status().dropped).toMatchObject({ exhausted: 100, rejected: 0 });
    }));

  it.each([
    ['an error', new Error('password authentication failed')],
    ['a rejection', new EventRejectedError('no such role', { handler: 'closed', table: 'events', type: 'test' })],
  ])('W11: does not ask about a handler that cannot be opened for %s, because no event was brought', (_, failure) =>
    virtualTime(async ({ clock }) => {
      let opened = 0;
      const handler = {
        name: 'closed',
        open: async () => {
          opened++;
          throw failure;
        },
        deliver: async () => {},
      };
      const recorder = await eventRecorder({ handler, retry: refuses, lossSummary: false }).open({ clock });
      record(recorder, 1, 100);
      await clock.advance(60_000);
      expect([opened, recorder.status().dropped.exhausted]).toEqual([4, 100]);
      await recorder.close(0);
    }),
  );

  it('W11: what may not pass becomes a dead letter where there is a store for them', () => {
    const kept: unknown[] = [];
    const deadLetters = {
      name: 'kept',
      write: async ({ events, reason, error }: DeadLetters) =>
        void kept.push([reason, error, events.map(({ payload }) => JSON.parse(payload))]),
    };
    return withRecorder(
      { deadLetters, retry: refuses, lossSummary: false },
      ({ payloads }) => {
        if (payloads.includes(2)) throw new Error('no such column');
      },
      async ({ clock, recorder }) => {
        record(recorder, 1, 4);
        await clock.advance(60_000);
        expect(kept).toEqual([['rejected', 'no such column', [2]]]);
        expect(recorder.status()).toMatchObject({ delivered: 3, dropped: { rejected: 1 } });
      },
    );
  });

  it('W11: the deadline holds for the halves of a group too, which were failing before', () =>
    withRecorder(
      { batchEvents: 4, retry: { deadline: '3s', retryable: (error) => !String(error).includes('no such column') }, lossSummary: false },
      ({ payloads }) => {
        throw new Error(payloads.length > 1 ? 'no such column' : 'busy');
      },
      async ({ clock, handler, recorder }) => {
        record(recorder, 1, 4);
        await clock.advance(60_000);
        // Those that are alone are tried again at 1666, and when that is over not any more.
        expect(handler.log.map(([atMs, ...payloads]) => `${atMs}: ${payloads}`)).toEqual([
          '0: 1,2,3,4',
          '0: 1,2',
          '0: 1',
          '1666: 1',
          '1666: 2',
          '1666: 3,4',
          '1666: 3',
          '1666: 4',
        ]);
        expect(recorder.status().dropped).toMatchObject({ exhausted: 4 });
      },
    ));

  it('W11: the deadline is no longer for a half whose calls take their time', () =>
    withRecorder(
      { batchEvents: 2, retry: { deadline: '3s', retryable: (error) => !String(error).includes('no such column') }, lossSummary: false },
      async ({ payloads }) => {
        if (payloads.length > 1) throw new Error('no such column');
        await busy();
        throw new Error('busy');
      },
      async ({ clock, handler, recorder }) => {
        busy = () => clock.sleep(10_000);
        record(recorder, 1, 2);
        await clock.advance(60_000);
        expect(handler.log.map(([atMs, ...payloads]) => `${atMs}: ${payloads}`)).toEqual(['0: 1,2', '0: 1', '10000: 2']);
        expect(recorder.status().dropped).toMatchObject({ exhausted: 2 });
      },
    ));

  it('C5.9: keeps events of a target that fails with something that has no text', () =>
    withRecorder(
      { whenExhausted: 'keep' },
      failing(2, () => Object.create(null)),
      async ({ clock, handler, recorder }) => {
        record(recorder, 1, 100);
        await clock.advance(60_000);
        expect(handler.taken).toEqual(numbers(1, 100));
      },
    ));

  it.each<[string, () => boolean]>([
    ['a promise', (() => Promise.reject(new Error('late'))) as unknown as () => boolean],
    ['nothing', (() => {}) as unknown as () => boolean],
  ])('W11: takes a predicate that answers with %s for one that says yes, and says so once', (_, retryable) => {
    const told: string[] = [];
    const logger = { ...createContext().logger, error: (_details: object, text: string) => void told.push(text) };
    return withRecorder(
      { retry: { retryable } },
      failing(2),
      async ({ clock, handler, recorder }) => {
        record(recorder, 1, 100);
        await clock.advance(60_000);
        expect(handler.taken).toEqual(numbers(1, 100));
        expect(told.filter((text) => text.includes('retry.retryable'))).toHaveLength(1);
      },
      { logger },
    );
  });

  it('W11: takes a predicate that fails for one that says yes', () =>
    withRecorder(
      {
        retry: {
          retryable: () => {
            throw new Error('a defect');
          },
        },
      },
      failing(2),
      async ({ clock, handler, recorder }) => {
        record(recorder, 1, 100);
        await clock.advance(60_000);
        expect(handler.taken).toEqual(numbers(1, 100));
      },
    ));

  it('C5.12, W2: retries the group that failed alone: what another has delivered does not come twice', () =>
    withRecorder({ batchEvents: 4 }, takes, async ({ clock, handler, recorder }) => {
      const failB = failing(2);
      handler.does((call, signal) => (call.group.type === 'b' ? failB(call, signal) : undefined));
      for (const [payload, type] of [
        [1, 'a'],
        [2, 'b'],
        [3, 'a'],
        [4, 'b'],
      ] as const)
        recorder.record(event(payload, type));
      await clock.advance(10_000);
      expect(handler.log).toEqual([
        [0, 1, 3],
        [0, 2, 4],
        [1666, 2, 4],
        [4998, 2, 4],
      ]);
    }));

  it('C5.14, W6: keeps what comes during a backoff, up to the capacity', () =>
    withRecorder({ queueEvents: 300, lossSummary: false }, failing(3), async ({ clock, handler, recorder }) => {
      record(recorder, 1, 100);
      await clock.advance(500);
      record(recorder, 101, 310);
      expect(recorder.status()).toMatchObject({ accepted: 300, refused: { overflow: 10 } });
      await clock.advance(60_000);
      expect(handler.taken).toEqual(numbers(1, 300));
    }));

  it('C5.28, W3: fixes number, identity and time at the call of record, the same in each retry', () =>
    withRecorder({}, failing(1), async ({ clock, handler, recorder }) => {
      await clock.advance(1234);
      const outcome = recorder.record(event('a'));
      recorder.record(event('b', 'test', { timestampNs: 1_700_000_000_123_456_789n }));
      await clock.advance(60_000);
      const [first, second] = handler.calls.map(({ group }) => group.events.map(({ id, seq, timestampNs }) => ({ id, seq, timestampNs })));
      expect(first).toEqual(second);
      expect(first![0]).toEqual({ id: (outcome as { id: string }).id, seq: expect.any(BigInt), timestampNs: 1_234_000_000n });
      expect(first![1]!.timestampNs).toBe(1_700_000_000_123_456_789n);
    }));

  it('W3: gives events of one millisecond times in their order', () =>
    withRecorder({ batchEvents: 3 }, takes, async ({ clock, handler, recorder }) => {
      record(recorder, 1, 3);
      await clock.settle();
      expect(handler.calls[0]!.group.events.map(({ timestampNs }) => timestampNs)).toEqual([0n, 1n, 2n]);
    }));

  it('G2: numbers ascend over restarts, and no identity comes twice', () =>
    virtualTime(async ({ clock }) => {
      const handler = new ScriptedHandler(clock);
      const outcomes = [];
      for (let life = 0; life < 3; life++) {
        const recorder = await eventRecorder({ handler }).open({ clock });
        outcomes.push(recorder.record(event(1)), recorder.record(event(2)));
        await recorder.close();
        await clock.advance(5);
      }
      const told = outcomes.map((outcome) => (outcome.accepted ? outcome : null)!);
      expect(new Set(told.map(({ id }) => id)).size).toBe(6);
      expect(told.every(({ seq }, i) => i === 0 || seq > told[i - 1]!.seq)).toBe(true);
    }));
});

describe('refusals of the target', () => {
  const letters = () => {
    const written: { payloads: unknown[]; reason: string; error: string }[] = [];
    return {
      written,
      store: {
        name: 'letters',
        write: async ({ events, reason, error }: { events: readonly { payload: string }[]; reason: string; error: string }) => {
          written.push({ payloads: events.map(({ payload }) => JSON.parse(payload) as unknown), reason, error });
        },
      },
    };
  };

  it('C5.11, W5: does not retry what the target refuses for good: it is a dead letter', () => {
    const { written, store } = letters();
    return withRecorder(
      { deadLetters: store },
      (call) => Promise.reject(rejection(call)),
      async ({ clock, handler, recorder }) => {
        recorder.record(event('bad'));
        await clock.advance(60_000);
        expect(handler.calls).toHaveLength(1);
        expect(written).toEqual([{ payloads: ['bad'], reason: 'rejected', error: expect.stringContaining('bad column') }]);
        expect(recorder.status()).toMatchObject({ dropped: { rejected: 1 }, deadLettered: 1 });
      },
    );
  });

  it.each<[string, boolean, number]>([
    ['named by the handler', true, 2],
    ['found by halves', false, 15],
  ])('C5.13, W5: isolates a poison event from 99 good ones, %s', (_, isNamed, calls) => {
    const { written, store } = letters();
    const refuse: Behaviour = (call) => {
      if (call.payloads.includes(37)) throw rejection(call, isNamed ? [37] : null);
    };
    return withRecorder({ deadLetters: store }, refuse, async ({ clock, handler, recorder }) => {
      record(recorder, 1, 100);
      await clock.settle();
      expect(handler.taken).toEqual(numbers(1, 100).filter((i) => i !== 37));
      expect(written.map(({ payloads }) => payloads)).toEqual([[37]]);
      expect(handler.calls.length).toBeLessThanOrEqual(calls);
      expect(clock.now()).toBe(0);
    });
  });

  it.each<[what: string, mayExtend: boolean, extended: number, bad: unknown[]]>([
    ['is added once, by the call that needs it first', true, 1, []],
    ['that nobody may add makes dead letters of its events, and the others arrive', false, 0, [2, 3]],
  ])('C5.32: a column that the target lacks %s', (_, mayExtend, extended, bad) => {
    const { written, store } = letters();
    const columns = new Set(['type', 'payload', 'timestamp']);
    let times = 0;
    const table: Behaviour = (call) => {
      const lacking = buildRows(call.group).columns.filter(({ name }) => !columns.has(name));
      if (lacking.length === 0) return;
      if (!mayExtend) throw rejection(call, call.payloads);
      times++;
      for (const { name } of lacking) columns.add(name);
    };
    const wide = { extraSchema: [{ name: 'node', type: 'string', semantic: 'tag', nullable: true }], extraRows: [['n1']] } as const;
    return withRecorder({ deadLetters: store, batchEvents: 1, lossSummary: false }, table, async ({ clock, handler, recorder }) => {
      recorder.record(event(1, 'plain'));
      recorder.record(event(2, 'wide', wide));
      recorder.record(event(3, 'wide', wide));
      recorder.record(event(4, 'plain'));
      await clock.advance(60_000);
      expect(times).toBe(extended);
      expect(handler.calls).toHaveLength(4);
      expect(handler.taken).toEqual([1, 2, 3, 4].filter((n) => !bad.includes(n)));
      expect(written.flatMap(({ payloads }) => payloads)).toEqual(bad);
    });
  });

  it('makes dead letters of what is exhausted, where there is a store for them', () => {
    const { written, store } = letters();
    return withRecorder({ deadLetters: store }, failing(4), async ({ clock, recorder }) => {
      recorder.record(event('a'));
      await clock.advance(60_000);
      expect(written).toEqual([{ payloads: ['a'], reason: 'exhausted', error: 'target is down' }]);
      expect(recorder.status()).toMatchObject({ dropped: { exhausted: 1 }, deadLettered: 1 });
    });
  });

  it('drops what is exhausted where it is told so, though there is a store for what is refused', () => {
    const { written, store } = letters();
    return withRecorder({ deadLetters: store, whenExhausted: 'drop' }, failing(4), async ({ clock, recorder }) => {
      recorder.record(event('a'));
      await clock.advance(60_000);
      expect(written).toEqual([]);
      expect(recorder.status()).toMatchObject({ dropped: { exhausted: 1 }, deadLettered: 0 });
    });
  });

  it.each<[string, () => Promise<void>]>([
    ['fails', () => Promise.reject(new Error('disk full'))],
    ['never answers', never],
  ])('drops them, counted, when the store for them %s', (_, write) =>
    withRecorder(
      { deadLetters: { name: 'letters', write } },
      (call) => Promise.reject(rejection(call)),
      async ({ clock, recorder }) => {
        recorder.record(event('a'));
        await clock.advance(60_000);
        expect(recorder.status()).toMatchObject({ dropped: { rejected: 1 }, deadLettered: 0, pending: expect.any(Number) });
      },
    ),
  );

  it('W14: a store for them that fails is a line of the log, not one for each of them', () => {
    const lines: object[] = [];
    let isDown = true;
    const write = () => (isDown ? Promise.reject(new Error('disk full')) : Promise.resolve());
    const logger = { ...createContext().logger, error: (details: object) => void lines.push(details) };
    return withRecorder(
      { deadLetters: { name: 'letters', write }, batchEvents: 1 },
      (call) => Promise.reject(rejection(call)),
      async ({ clock, recorder }) => {
        record(recorder, 1, 50);
        await clock.settle();
        expect(lines).toEqual([{ recorder: 'events', events: 1, reason: 'disk full' }]);
        isDown = false;
        record(recorder, 51, 51);
        await clock.settle();
        isDown = true;
        record(recorder, 52, 60);
        await clock.settle();
        expect(lines).toHaveLength(2);
        expect(recorder.status()).toMatchObject({ dropped: { rejected: 60 }, deadLettered: 1 });
      },
      { logger },
    );
  });
});

describe('a handler that misbehaves', () => {
  it.each<[string, Behaviour, number]>([
    [
      'throws synchronously',
      () => {
        throw new Error('bug');
      },
      0,
    ],
    ['rejects', () => Promise.reject(new Error('down')), 0],
    ['rejects with nothing', () => Promise.reject(undefined), 0],
    ['never answers', never, 31_000],
  ])('C5.19, W10: %s: that is an attempt that failed, and the recorder goes on', (_, behaviour, takesMs) =>
    withRecorder({}, behaviour, async ({ clock, handler, recorder }) => {
      record(recorder, 1, 100);
      await clock.advance(100 + takesMs);
      expect(recorder.status()).toMatchObject({ health: 'failing', failuresInARow: 1, pending: 100 });
      handler.does(takes);
      await clock.advance(2000);
      expect(recorder.status()).toMatchObject({ health: 'ok', delivered: 100 });
    }),
  );

  it('C5.19: a handler that is not asynchronous at all is one that failed', () =>
    virtualTime(async ({ clock }) => {
      const handler = {
        name: 'odd',
        deliver: () => {
          throw new Error('not async at all');
        },
      };
      const recorder = await eventRecorder({ handler, batchEvents: 1 }).open({ clock });
      recorder.record(event(1));
      await clock.advance(60_000);
      expect(recorder.status()).toMatchObject({ dropped: { exhausted: 1 } });
    }));

  it('G7: a call that succeeds late, within the grace, has delivered: it is not made again', () =>
    withRecorder({ handlerTimeout: '10s' }, takes, async ({ clock, handler, recorder }) => {
      handler.does(() => clock.sleep(10_500));
      record(recorder, 1, 100);
      await clock.advance(60_000);
      expect(handler.calls).toHaveLength(1);
      expect(recorder.status().delivered).toBe(100);
    }));

  it('is opened with the first batch, and again with the next attempt when that fails', () =>
    virtualTime(async ({ clock }) => {
      const opens: number[] = [];
      const handler = new ScriptedHandler(clock);
      const open = async () => {
        opens.push(clock.now());
        if (opens.length < 3) throw new Error('no route to host');
      };
      const recorder = await eventRecorder({ handler: Object.assign(handler, { open }) }).open({ clock });
      await clock.advance(1000);
      expect(opens).toEqual([]);
      record(recorder, 1, 200);
      await clock.advance(60_000);
      expect(opens).toEqual([1000, 2666, 5998]);
      expect(handler.taken).toEqual(numbers(1, 200));
    }));
});
