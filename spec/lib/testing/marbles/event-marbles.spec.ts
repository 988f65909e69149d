import { describe, expect, it } from '@jest/globals';
import { concatMap, delay, ignoreElements, interval, map, mergeMap, of, Subject, tap, throwError } from 'rxjs';
import { MillraceError } from '../../../../lib/errors.ts';
import { type Delivery, type DmlEvent, TwoStageAck } from '../../../../lib/events/index.ts';
import { Gauge } from '../../../../lib/flow/index.ts';
import {
  deliveryOf,
  dispatcherNamed,
  type EventMarbles,
  type EventMarblesOptions,
  eventMarbles,
  eventOf,
  notationOf,
  type Recording,
  virtualTime,
} from '../../../../lib/testing/index.ts';
import { checkSequence, filterEpoch, filterTables, trackProgress } from '../../../../operators/index.ts';

const onlyA = () => filterTables(['public.a']);

describe('eventMarbles', () => {
  it('compares deliveries by their notation, empty ones left out', () => {
    eventMarbles(({ events, expectEvents, expectSubscriptions }) => {
      const source = events(' [a@5,b@5]-b@6-[a@7]-|');
      const subs = '         ^-------------------!';
      const expected = '     a@5-----------[a@7]-|';
      expectEvents(source.pipe(onlyA())).toBe(expected);
      expectSubscriptions(source.subscriptions).toBe(subs);
    });
  });

  it('counts the empty ones where that is asked for', () => {
    eventMarbles(({ events, expectDeliveries }) => {
      const source = events(' [a@5,b@5]-b@6-|');
      const expected = '     a@5-------[]--|';
      expectDeliveries(source.pipe(onlyA())).toBe(expected);
    });
  });

  it('lets letters stand for deliveries, however they are given', () => {
    eventMarbles(({ events, expectEvents }) => {
      const values = { x: 'a@5 b@6', y: deliveryOf('a@7'), z: eventOf('a@8'), w: [eventOf('a@9'), eventOf('res@9')], v: 'a@10' };
      const source = events(' x-y-z-w-[v,b@10]-|', values);
      const expected = '     x-y-z-w-u--------|';
      expectEvents(source).toBe(expected, { ...values, u: '[a@10 b@10]' });
    });
  });

  it('makes new events for each subscription, because a sink hooks their acks', () => {
    const seen: Delivery[] = [];
    eventMarbles(({ events }) => {
      const source = events('a@5|');
      for (let i = 0; i < 2; i++) source.subscribe((delivery) => seen.push(delivery));
    });
    expect(seen.map(notationOf)).toEqual(['a@5', 'a@5']);
    expect((seen[0]!.events[0] as DmlEvent).ack).not.toBe((seen[1]!.events[0] as DmlEvent).ack);
  });

  it('plays a hot stream once, from its ^ on', () => {
    eventMarbles(({ hotEvents, expectEvents }) => {
      const source = hotEvents('a@4-^--a@5-a@6|');
      const subscription = '        ----^';
      const expected = '            -------a@6|';
      expectEvents(source, subscription).toBe(expected);
    });
  });

  it('plays letters and events in streams of anything', () => {
    eventMarbles(({ cold, hot, expectObservable }) => {
      expectObservable(cold('a-b|')).toBe('a-b|');
      expectObservable(cold('a-b|', { a: { n: 1 }, b: [2n] })).toBe('x-y|', { x: { n: 1 }, y: [2n] });
      expectObservable(cold('x-marker:a|', { x: 1 })).toBe('x-marker:a|', { x: 1 });
      expectObservable(hot('--a-(b|)')).toBe('--a-(b|)');
    });
  });

  it('compares by the text that `show` gives, which is then what letters stand for', () => {
    eventMarbles(({ cold, expectObservable }) => {
      const source = cold('a-b-|', { a: { rows: 1 }, b: { rows: 2 } });
      expectObservable(source, { show: ({ rows }) => `${rows} rows` }).toBe('x-y-|', { x: '1 rows', y: '2 rows' });
    });
  });

  it('waits in virtual time, by its clock and in the operators of RxJS', () => {
    eventMarbles(({ cold, clock, time, expectObservable }) => {
      const heard = new Subject<string>();
      clock.after(7, () => heard.next('x'));
      expectObservable(heard).toBe('7ms x');
      expectObservable(cold('a|').pipe(concatMap((letter) => of(letter).pipe(delay(time('---|')))))).toBe('---(a|)');
    });
  });

  it('subscribes and lets go when it is told to', () => {
    eventMarbles(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('a-b-c-|');
      expectObservable(source, '--^--!').toBe('--a-b');
      expectSubscriptions(source.subscriptions).toBe(['--^--!']);
    });
    eventMarbles(({ cold, expectSubscriptions }) => expectSubscriptions(cold('a').subscriptions).toBe([]));
  });

  it('shows the acks of what a source emitted', () => {
    eventMarbles(({ events, context, clock, expectAcks, expectEvents }) => {
      const source = events(' [a@5,b@5]----[]-|');
      const expected = '     [a@5,b@5]-------|';
      //                     enqueued after 2 ms, flushed after 40 ms; what holds nothing is flushed at once
      const acks = '         --enqueued:x-(flushed:e enqueued:e) 6ms flushed:x';
      const sink = source.pipe(
        trackProgress().withContext(context),
        tap(({ events }) => {
          for (const event of events as DmlEvent[]) {
            clock.after(2, () => event.ack.postEnqueue());
            clock.after(40, () => event.ack.postFlush());
          }
        }),
      );
      expectEvents(sink).toBe(expected);
      expectAcks(source).toBe(acks, { x: 'a@5 b@5', e: '' });
    });
  });

  it('shows the acks of whatever carries one, by its letter', () => {
    eventMarbles(({ cold, clock, expectAcks }) => {
      const item = () => ({ ack: new TwoStageAck() });
      const source = cold('a-b-|', { a: item(), b: item() });
      const acks = '       ----x-y';
      source.subscribe(({ ack }) => clock.after(4, () => ack.postEnqueue()));
      expectAcks(source).toBe(acks, { x: 'enqueued:a', y: 'enqueued:b' });
    });
  });

  it('knows the epochs of tables, and which resets were asked for, when and why', () => {
    eventMarbles(
      ({ events, context, expectEvents, expectResets }) => {
        const source = events(' hello:a#2.1-a@5#1.2-a@5#2.3-|');
        const expected = '      hello:a#2.1-----------------|';
        const resets = '        --------------------reset:a';
        expectEvents(source.pipe(filterEpoch().withContext(context), checkSequence().withContext(context))).toBe(expected);
        expectResets().toBe(resets, ['seq 3 after 1']);
      },
      { sessions: { a: 2 } },
    );
  });

  it('writes down the resets of sessions that are given', () => {
    const asked: string[] = [];
    eventMarbles(
      ({ context, clock, expectResets }) => {
        for (const [at, table] of [
          [3, 'a'],
          [4, 'b'],
        ] as const)
          clock.after(at, () => context.sessions.requestReset(dispatcherNamed(table), `${at}`));
        expectResets().toBe('---xy', [/3/, '4'], { x: 'reset:a', y: 'reset:b' });
      },
      { sessions: { epochOf: () => 0n, requestReset: (_, reason) => void asked.push(reason) } },
    );
    expect(asked).toEqual(['3', '4']);
  });

  it('takes the parts of a context, and gives the others', () => {
    const gauge = new Gauge();
    eventMarbles(
      ({ context, clock }) => {
        expect([context.gauge, context.clock, clock.now()]).toEqual([gauge, clock, 0]);
        expect(context.progress.checkpointTs).toBe(0n);
      },
      { gauge },
    );
  });

  it('draws lots by its seed, so that a test is the same each time', () => {
    const draw = (seed?: number) => {
      const drawn: number[] = [];
      eventMarbles(({ clock }) => void drawn.push(clock.random(), clock.random()), seed === undefined ? {} : { seed });
      return drawn;
    };
    expect(draw()).toEqual(draw(1));
    expect(draw(2)).not.toEqual(draw(1));
  });

  it('takes an error by itself, by its code, or by a pattern of its message', () => {
    const failure = new MillraceError('MR_STOPPED', { pipeline: 'x' });
    eventMarbles(({ cold, expectObservable }) => {
      expectObservable(cold('-#')).toBe('-#');
      expectObservable(cold('-#', {}, 7)).toBe('-#', {}, 7);
      expectObservable(cold('-#', {}, null)).toBe('-#', {}, null);
      for (const expected of [failure, 'MR_STOPPED', /was stopped/]) expectObservable(throwError(() => failure)).toBe('#', {}, expected);
      expectObservable(throwError(() => new TypeError('no'))).toBe('#', {}, new TypeError('no'));
      expectObservable(throwError(() => new TypeError('no'))).toBe('#', {}, /^no$/);
    });
  });

  it('compares at once what was expected before `flush`', () => {
    eventMarbles(({ cold, expectObservable, flush }) => {
      const seen: string[] = [];
      const source = cold('a-b|');
      source.subscribe((letter) => seen.push(letter));
      expectObservable(source).toBe('a-b|');
      flush();
      expect(seen).toEqual(['a', 'b']);
    });
  });

  describe('misuse', () => {
    it.each<[string, (tools: EventMarbles) => unknown, RegExp]>([
      ['an event without a position', ({ events }) => events('users-|'), /users has no position.*users@5.*\n {4}users-\|\n {4}\^/s],
      [
        'a kind of event without its table',
        ({ events }) => events('-ddl users@5'),
        /ddl is a kind of event, a schema change\. Name its table: ddl:users@5.*\n {5}\^/s,
      ],
      ['the same of one that has no position', ({ events }) => events('marker'), /marker is a kind of event.*: marker:users:\n/],
      [
        'a letter that stands for nothing',
        ({ events }) => events('-x-|', { y: 'a@5' }),
        /letter x stands for nothing.*listed in the values.*\n {5}\^/s,
      ],
      ['the same among values', ({ cold }) => cold('-x-|', { y: 1 }), /letter x stands for nothing/],
      ['a letter that stands for no delivery', ({ events }) => events('x', { x: 7 as unknown as string }), /x stands for no delivery/],
      ['a letter of several events inside a delivery', ({ events }) => events('[x]', { x: 'a@5 b@5' }), /x stands for no single event/],
      ['a mistake in the value of a letter', ({ events }) => events('x', { x: 'a@5 b' }), /b is no event.*\n {4}a@5 b\n {8}\^/s],
      ['a range as it is not written', ({ events }) => events('a@5.2-4'), /4 stands for nothing here.*a@5\.2\.\.4/],
      ['an unknown column', ({ events }) => events('-a@5{nope:1}'), /no column nope; it has id, note.*\n {9}\^/s],
      ['an ack that is emitted', ({ events }) => events('enqueued:a@5'), /expectAcks/],
      ['a reset that is emitted', ({ events }) => events('reset:a'), /expectResets/],
      ['an event among acks', ({ events, expectAcks }) => expectAcks(events('a@5')).toBe('a@5'), /this is no ack/],
      ['an event among resets', ({ expectResets }) => expectResets().toBe('a@5'), /this is no reset/],
      [
        'an empty delivery where they are left out',
        ({ events, expectEvents }) => expectEvents(events('[]')).toBe('[]'),
        /expectDeliveries/,
      ],
      [
        'the acks of another stream',
        ({ events, expectAcks }) => expectAcks(events('a@5').pipe(map((delivery) => delivery))),
        /MR_INVALID_OPTION: option source of expectAcks/,
      ],
      [
        'an expectation that is never told what to expect',
        ({ events, expectEvents }) => expectEvents(events('a@5')),
        /MR_MARBLES_UNFINISHED: expectEvents .*toBe/,
      ],
      [
        'the same among subscriptions',
        ({ events, expectSubscriptions }) => expectSubscriptions(events('a@5').subscriptions),
        /MR_MARBLES_UNFINISHED: expectSubscriptions /,
      ],
      [
        'a stream that never comes to rest',
        ({ expectObservable }) => expectObservable(interval(1)).toBe('-a'),
        /MR_MARBLES_ENDLESS: .* frame 99999.*take\(3\)/s,
      ],
      [
        'the same without time passing',
        ({ expectObservable }) => expectObservable(interval(0)).toBe('-a'),
        /MR_MARBLES_ENDLESS: .* frame 0/,
      ],
      ['a letter that stands for nothing, in a delivery', ({ events }) => events('-[a@5,x]'), /letter x.*\n {10}\^/s],
      ['an unknown column whose name stands before it too', ({ events }) => events('-[es@5,users@5{s:1}]'), /no column s;.*\n {19}\^/s],
      ['a letter among the events of a value', ({ events }) => events('x', { x: 'ax@5 x' }), /x is no event.*\n {9}\^/s],
      [
        'one inside another, which would take its time away',
        ({ clock }) => {
          clock.after(3, () => eventMarbles(() => {}));
        },
        /MR_VIRTUAL_TIME_NESTED: .*come to 3 ms/,
      ],
      [
        'a promise, which no frame carries',
        ({ events, expectEvents }) => expectEvents(events('a@5|').pipe(mergeMap(async (delivery) => delivery))).toBe('a@5|'),
        /nothing at all.*virtualTime/,
      ],
      [
        'a real timer, which no frame comes to',
        ({ events, expectEvents }) => expectEvents(events('---a@5|').pipe(tap(() => setTimeout(() => {}, 50)))).toBe('---a@5|'),
        /MR_REAL_TIMER: setTimeout\(…, 50\) was called in virtual time, at 3 ms.*context\.clock/,
      ],
      [
        'the same where what refuses it is caught',
        ({ events, expectEvents }) =>
          expectEvents(
            events('-a@5|').pipe(
              mergeMap(async () => setInterval(() => {}, 5)),
              ignoreElements(),
            ),
          ).toBe('-----|'),
        /MR_REAL_TIMER: setInterval/,
      ],
      ['more reasons than resets', ({ expectResets }) => expectResets().toBe('--', ['lost']), /1 reasons.*0 resets/],
      ['events in a subscription', ({ cold, expectObservable }) => expectObservable(cold('a'), 'a'), /belongs to no subscription/],
    ])('is refused with what to do: %s', (_, body, message) => {
      expect(() => eventMarbles((tools) => void body(tools))).toThrow(message);
    });

    it('refuses an async body, because frames carry no promises', () => {
      expect(() => eventMarbles(async () => {})).toThrow(/MR_MARBLES_ASYNC.*virtualTime/);
    });

    it('refuses an async body also where it asked for a real timer, and gives the real timers back', () => {
      const before = [setTimeout, setInterval, AbortSignal.timeout];
      expect(() => eventMarbles(async () => void setTimeout(() => {}, 1))).toThrow(/MR_MARBLES_ASYNC/);
      expect(() => eventMarbles(() => void setTimeout(() => {}, 1))).toThrow(/MR_REAL_TIMER/);
      eventMarbles(() => expect(setTimeout).not.toBe(before[0]));
      expect([setTimeout, setInterval, AbortSignal.timeout]).toEqual(before);
    });

    it('refuses to run inside `virtualTime`, because there is one time', () =>
      virtualTime(async ({ clock }) => {
        await clock.sleep(7);
        expect(() => eventMarbles(() => {})).toThrow(/MR_VIRTUAL_TIME_NESTED: .*come to 7 ms/);
      }));

    it('refuses an async body that fails too, and leaves no rejection behind that would end the process', async () => {
      const unhandled: unknown[] = [];
      const listener = (reason: unknown) => void unhandled.push(reason);
      process.on('unhandledRejection', listener);
      const body = async () => {
        throw new Error('lost');
      };
      expect(() => eventMarbles(body)).toThrow(/MR_MARBLES_ASYNC/);
      await new Promise((resolve) => setImmediate(resolve));
      process.off('unhandledRejection', listener);
      expect(unhandled).toEqual([]);
    });
  });

  describe('a recording', () => {
    const record = (body: (tools: EventMarbles) => void, options: EventMarblesOptions = {}): Recording[] => {
      const recordings: Recording[] = [];
      eventMarbles(body, { ...options, onRecorded: (recording) => recordings.push(recording) });
      return recordings;
    };

    it('tells what happened: sources first, then what was expected', () => {
      const [recording] = record(({ events, expectEvents, expectSubscriptions }) => {
        const source = events('[a@5,b@5]-b@6-|', {}, undefined, { label: 'changes' });
        expectEvents(source.pipe(onlyA()), { label: 'of a' }).toBe('a@5-----------|');
        expectSubscriptions(source.subscriptions).toBe('^-------------!');
      });
      expect(recording).toEqual({
        streams: [
          {
            role: 'source',
            label: 'changes',
            marks: [
              { frame: 0, kind: 'next', text: '[a@5,b@5]' },
              { frame: 10, kind: 'next', text: 'b@6' },
              { frame: 14, kind: 'complete' },
            ],
          },
          {
            role: 'output',
            label: 'of a',
            marks: [
              { frame: 0, kind: 'next', text: 'a@5' },
              { frame: 14, kind: 'complete' },
            ],
          },
          {
            role: 'subscription',
            label: 'subscription',
            marks: [
              { frame: 0, kind: 'subscribe' },
              { frame: 14, kind: 'unsubscribe' },
            ],
          },
        ],
        frames: 15,
      });
    });

    it('shows values by `show`, plain ones as they are, others by their letters', () => {
      const [recording] = record(({ cold, expectObservable }) => {
        cold('a', { a: 'a1:60' });
        cold('b', { b: { n: 2 } });
        const third = cold('c', { c: { n: 3 } }, undefined, { show: ({ n }) => `n is ${n}` });
        expectObservable(third).toBe('x', { x: { n: 3 } });
        expectObservable(third.pipe(map(({ n }) => BigInt(n)))).toBe('y', { y: 3n });
      });
      const texts = recording!.streams.map(({ label, marks }) => [
        label,
        ...marks.map((mark) => (mark.kind === 'next' ? mark.text : mark.kind)),
      ]);
      expect(texts).toEqual([
        ['source', 'a1:60'],
        ['source 2', 'b'],
        ['source 3', 'n is 3'],
        ['output', 'x'],
        ['output', '3'],
      ]);
    });

    it('has the acks and resets that were expected', () => {
      const [recording] = record(({ events, context, expectAcks, expectResets }) => {
        const source = events('a@5');
        source.subscribe(({ ack }) => ack.postEnqueue());
        context.sessions.requestReset(dispatcherNamed('a'), 'lost');
        expectAcks(source).toBe('enqueued:a@5');
        expectResets().toBe('reset:a');
      });
      expect(recording!.streams.slice(1)).toEqual([
        { role: 'acks', label: 'acks', marks: [{ frame: 0, kind: 'next', text: 'enqueued:a@5' }] },
        { role: 'resets', label: 'resets', marks: [{ frame: 0, kind: 'next', text: 'reset:a' }] },
      ]);
    });

    it('is not made of a test that fails', () => {
      const recordings: Recording[] = [];
      const options = { onRecorded: (recording: Recording) => void recordings.push(recording) };
      expect(() => eventMarbles(({ cold, expectObservable }) => expectObservable(cold('a')).toBe('b'), options)).toThrow(
        /MR_MARBLES_DIFFER/,
      );
      expect(recordings).toEqual([]);
    });
  });
});
