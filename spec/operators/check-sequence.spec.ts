import { describe, expect, it } from '@jest/globals';
import { from } from 'rxjs';
import { createContext } from '../../lib/flow/index.ts';
import { deliveryOf, notationOf } from '../../lib/testing/index.ts';
import { checkSequence, NO_SEQUENCE, type SequenceState, sequenceStep } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

/** spec event-collector §1.3, §4.1 */
describe('checkSequence', () => {
  it('asks for a reset once where seq has a gap, and drops until the handshake of a newer epoch', () => {
    eventMarbles(({ events, context, expectEvents, expectResets }) => {
      const source = events('hello:a#1.1-a@5#1.3-a@6#1.4-res:a@6#1.9-hello:a#2.1-a@5#2.2-|');
      const expected = '     hello:a#1.1-----------------------------hello:a#2.1-a@5#2.2-|';
      const resets = '       ------------reset:a';
      expectEvents(source.pipe(checkSequence().withContext(context))).toBe(expected);
      expectResets().toBe(resets, ['seq 3 after 1']);
    });
  });

  const open = (lastSeq: bigint): SequenceState => ({ epoch: 2n, lastSeq, isBroken: false });
  const broken: SequenceState = { epoch: 2n, lastSeq: 3n, isBroken: true };

  describe('one event at a time', () => {
    it.each<[string, SequenceState, string, string, SequenceState]>([
      //                                      state        event           verdict   new state
      ['a handshake opens an epoch', NO_SEQUENCE, 'hello:a#2.1', 'pass', open(1n)],
      ['a handshake of a newer epoch opens that', open(7n), 'hello:a#3.1', 'pass', { ...open(1n), epoch: 3n }],
      ['a second handshake would rewind the sequence', open(3n), 'hello:a#2.1', 'drop', open(3n)],
      ['a handshake that is not seq 1 is none', NO_SEQUENCE, 'hello:a#2.2', 'drop', NO_SEQUENCE],
      ['a handshake cannot repair a broken epoch', broken, 'hello:a#2.1', 'drop', broken],
      ['a newer handshake ends a broken epoch', broken, 'hello:a#3.1', 'pass', { ...open(1n), epoch: 3n }],
      ['rows are the last + 1', open(3n), 'a@5#2.4', 'pass', open(4n)],
      ['a schema change is the last + 1', open(3n), 'ddl:a@5#2.4', 'pass', open(4n)],
      ['a TRUNCATE is the last + 1', open(3n), 'truncate:a@5#2.4', 'pass', open(4n)],
      ['a syncpoint is the last + 1', open(3n), 'sync:a@5#2.4', 'pass', open(4n)],
      ['resolved carries the last', open(3n), 'res:a@5#2.3', 'pass', open(3n)],
      ['a gap', open(3n), 'a@5#2.5', 'reset', { ...open(3n), isBroken: true }],
      ['a duplicate', open(3n), 'a@5#2.3', 'reset', { ...open(3n), isBroken: true }],
      ['a resolved that tells of a lost event', open(3n), 'res:a@5#2.4', 'reset', { ...open(3n), isBroken: true }],
      ['a resolved from before', open(3n), 'res:a@5#2.2', 'reset', { ...open(3n), isBroken: true }],
      ['rows without a handshake', NO_SEQUENCE, 'a@5#2.2', 'reset', { ...open(0n), isBroken: true }],
      ['a resolved without a handshake', NO_SEQUENCE, 'res:a@5#2.1', 'reset', { ...open(0n), isBroken: true }],
      ['a newer epoch without its handshake', open(3n), 'a@5#3.2', 'reset', { epoch: 3n, lastSeq: 0n, isBroken: true }],
      ['an event that memory control dropped', open(3n), 'lost:a#2.4', 'reset', { ...open(3n), isBroken: true }],
      ['a second breach of the same epoch', broken, 'a@5#2.9', 'drop', broken],
      ['a drop in a broken epoch', broken, 'lost:a#2.4', 'drop', broken],
      ['what is right again in a broken epoch', broken, 'a@5#2.4', 'drop', broken],
      ['an older epoch', open(3n), 'a@5#1.9', 'drop', open(3n)],
    ])('%s', (_, state, text, verdict, expected) => {
      const [event] = deliveryOf(text).events;
      const step = sequenceStep(state, event!);
      expect(step.verdict).toBe(verdict);
      expect(step.state).toEqual(expected);
      expect(step.reason !== '').toBe(verdict === 'reset');
    });
  });

  it('passes a session that has no gap', () => {
    eventMarbles(({ events, context, expectEvents, expectResets }) => {
      const source = events('hello:a#1.1-[a@5#1.2,a@6#1.3]-res:a@6#1.3-ddl:a@7#1.4-|');
      const expected = '     hello:a#1.1-[a@5#1.2,a@6#1.3]-res:a@6#1.3-ddl:a@7#1.4-|';
      const resets = '       ';
      expectEvents(source.pipe(checkSequence().withContext(context))).toBe(expected);
      expectResets().toBe(resets);
    });
  });

  it('drops what its dispatcher has in the whole delivery of a gap, because the reset sends it again, and leaves others alone', () => {
    eventMarbles(({ events, context, expectEvents, expectResets }) => {
      const source = events('[hello:a#1.1,hello:b#1.1]-[a@5#1.2,b@5#1.2,a@6#1.4,b@6#1.3,a@7#1.5]-|');
      const expected = '     [hello:a#1.1,hello:b#1.1]-[b@5#1.2,b@6#1.3]-------------------------|';
      const resets = '       --------------------------reset:a';
      expectEvents(source.pipe(checkSequence().withContext(context))).toBe(expected);
      expectResets().toBe(resets, ['seq 4 after 2']);
    });
  });

  it('asks again when the handshake of the newer epoch is lost too, because only a reset makes another', () => {
    eventMarbles(({ events, context, expectEvents, expectResets }) => {
      const source = events('hello:a#1.1-a@5#1.3-a@5#2.2-|');
      const expected = '     hello:a#1.1-----------------|';
      const resets = '       ------------reset:a-reset:a';
      expectEvents(source.pipe(checkSequence().withContext(context))).toBe(expected);
      expectResets().toBe(resets, ['seq 3 after 1', 'no handshake']);
    });
  });

  it('keeps the newer epoch that begins in the very delivery of a gap', () => {
    eventMarbles(({ events, context, expectEvents, expectResets }) => {
      const source = events('hello:a#1.1-[a@5#1.2,a@6#1.4,hello:a#2.1,a@5#2.2]-|');
      const expected = '     hello:a#1.1-[hello:a#2.1,a@5#2.2]-----------------|';
      const resets = '       ------------reset:a';
      expectEvents(source.pipe(checkSequence().withContext(context))).toBe(expected);
      expectResets().toBe(resets, ['seq 4 after 2']);
    });
  });

  it('passes what stands in no sequence', () => {
    eventMarbles(({ events, context, expectEvents, expectResets }) => {
      const source = events('[ready:a,gone:a,marker:a,res@5,sync@5]-|');
      const expected = '     [ready:a,gone:a,marker:a,res@5,sync@5]-|';
      const resets = '       ';
      expectEvents(source.pipe(checkSequence().withContext(context))).toBe(expected);
      expectResets().toBe(resets);
    });
  });

  it('passes the delivery on before it asks, so that what a reset sends at once comes behind it', () => {
    const out: string[] = [];
    const sessions = { epochOf: () => 0n, requestReset: () => void out.push('reset') };
    from([deliveryOf('a@5#1.2 b@5')])
      .pipe(checkSequence().withContext(createContext({ sessions })))
      .subscribe((delivery) => out.push(`delivery ${notationOf(delivery)}`));
    expect(out).toEqual(['delivery []', 'reset', 'reset']);
  });

  operatorLaws({ make: checkSequence, items: () => [deliveryOf('hello:a#1.1'), deliveryOf('a@5#1.2')], show: notationOf });
});
