import { describe, expect, it } from '@jest/globals';
import { deliveryOf, notationOf } from '../../lib/testing/index.ts';
import {
  type DedupeState,
  dedupeCommitTs,
  dedupePositionStep,
  dedupeStep,
  type PositionState,
  positionStart,
} from '../../operators/index.ts';

import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

describe('dedupeCommitTs', () => {
  /** architecture §2: exact where the source assigns ordinals */
  describe('with ordinals', () => {
    it('passes each position once, in order', () => {
      eventMarbles(({ events, expectEvents }) => {
        const source = events('a@5-a@5.1..3-a@5-a@5.2-a@6-a@5.1..3-|');
        const expected = '     a@5-a@5.1..3-----------a@6----------|';
        expectEvents(source.pipe(dedupeCommitTs())).toBe(expected);
      });
    });

    it.each([
      ['inside a transaction', 'a@5.0..3', 'a@5.2..6', 'a@5.4..6'],
      ['across transactions', 'a@5.0..3', 'a@4.8..9+5.0..4+6', 'a@5.4+6'],
      ['at a gap in the ordinals, which other tables fill', 'a@5.0..3', 'a@5.1+5.7..8', 'a@5.7..8'],
      ['to nothing', 'a@5.0..3', 'a@5.1..3', ''],
    ])('slices a block that straddles what was passed on %s', (_, before, block, rest) => {
      eventMarbles(({ events, expectDeliveries }) => {
        const source = events('a-b|', { a: before, b: block });
        const expected = '         a-b|';
        expectDeliveries(source.pipe(dedupeCommitTs())).toBe(expected, { a: before, b: rest });
      });
    });

    it('drops everything up to startTs, part of a block too, because it is durable', () => {
      eventMarbles(({ events, expectEvents }) => {
        const source = events('a@3-a@4.0..9+5.0..1-[ddl:a@4,sync@4]-|');
        const expected = '     ----a@5.0..1-------------------------|';
        expectEvents(source.pipe(dedupeCommitTs({ startTs: 4n }))).toBe(expected);
      });
    });

    it('keeps the place of each dispatcher by itself', () => {
      eventMarbles(({ events, expectEvents }) => {
        const source = events('a@9-b@5-|');
        const expected = '     a@9-b@5-|';
        expectEvents(source.pipe(dedupeCommitTs())).toBe(expected);
      });
    });

    it('passes resolved marks and signals as they are, and takes no position from them', () => {
      eventMarbles(({ events, expectEvents }) => {
        const source = events('[res@9,res@7,hello:a#1.1]-a@5-|');
        const expected = '     [res@9,res@7,hello:a#1.1]-a@5-|';
        expectEvents(source.pipe(dedupeCommitTs())).toBe(expected);
      });
    });

    const passed = (commitTs: bigint, ordinal: number): PositionState => ({ commitTs, ordinal, version: null });
    const changed = (commitTs: bigint, ordinal: number, version: bigint): PositionState => ({ commitTs, ordinal, version });

    it.each<[string, PositionState, string, string]>([
      ['a schema change stands before the row of its ordinal', changed(5n, 2, 5n), 'a@5.2', 'a@5.2'],
      ['so it is past when the row is', passed(5n, 2), 'ddl:a@5.2', ''],
      ['and when it was seen itself', changed(5n, 2, 5n), 'ddl:a@5.2', ''],
      ['a second version at one ordinal is another change', changed(5n, 2, 5n), 'ddl:a@5.2v6', 'ddl:a@5.2v6'],
      ['an older version there is not', changed(5n, 2, 6n), 'ddl:a@5.2v5', ''],
      ['a TRUNCATE has an ordinal of its own', passed(5n, 2), 'truncate:a@5.3', 'truncate:a@5.3'],
      ['a TRUNCATE again', passed(5n, 3), 'truncate:a@5.3', ''],
      ['a TRUNCATE behind the schema change of its ordinal', changed(5n, 3, 5n), 'truncate:a@5.3', 'truncate:a@5.3'],
      ['a syncpoint stands behind its transaction', passed(5n, 2), 'sync:a@5', 'sync:a@5'],
      ['a syncpoint again', passed(5n, Number.POSITIVE_INFINITY), 'sync:a@5', ''],
      ['a row behind a syncpoint of its transaction', passed(5n, Number.POSITIVE_INFINITY), 'a@5.9', ''],
      ['the transaction after it', passed(5n, Number.POSITIVE_INFINITY), 'a@6', 'a@6'],
      ['the start', positionStart(5n), 'a@5.9', ''],
    ])('%s', (_, state, text, expected) => {
      const [event] = deliveryOf(text).events;
      const step = dedupePositionStep(state, event!);
      expect(step.event === null ? '' : notationOf(step.event)).toBe(expected);
      if (step.event === null) expect(step.state).toBe(state);
    });
  });

  /** spec event-collector §4.2, with H1 of §4.3 */
  describe('without ordinals', () => {
    it('passes a DML that shares the last commit-ts, because several transactions may', () => {
      eventMarbles(({ events, expectEvents }) => {
        const source = events('a@5-a@5-a@4-a@6-|');
        const expected = '     a@5-a@5-----a@6-|';
        expectEvents(source.pipe(dedupeCommitTs({ ordinals: false, startTs: 4n }))).toBe(expected);
      });
    });

    it('H1: does not let a replayed DML pass behind the schema change of its commit-ts', () => {
      eventMarbles(({ events, expectEvents }) => {
        const source = events('a@5-ddl:a@5-res:a@8-a@5-ddl:a@5-a@9-|');
        const expected = '     a@5-ddl:a@5-res:a@8-------------a@9-|';
        expectEvents(source.pipe(dedupeCommitTs({ ordinals: false }))).toBe(expected);
      });
    });

    const at5 = (gotDdl = false, gotSyncpoint = false): DedupeState => ({ startTs: 1n, lastTs: 5n, gotDdl, gotSyncpoint });
    const at6 = (gotDdl = false, gotSyncpoint = false): DedupeState => ({ ...at5(gotDdl, gotSyncpoint), lastTs: 6n });

    it.each<[string, DedupeState, string, string, DedupeState]>([
      //                              state              event            passes           new state
      ['DML below', at5(), 'a@4', '', at5()],
      ['DML at the last', at5(), 'a@5', 'a@5', at5()],
      ['DML above', at5(true, true), 'a@6', 'a@6', at6()],
      ['DML at the last behind a DDL (H1)', at5(true), 'a@5', '', at5(true)],
      ['DML at the last behind a syncpoint (H1)', at5(false, true), 'a@5', '', at5(false, true)],
      ['DML of a block that straddles', at5(), 'a@4+5+6', 'a@5+6', at6()],
      ['DML of a block that straddles a DDL', at5(true), 'a@4+5+6', 'a@6', at6()],
      ['DDL below', at5(), 'ddl:a@4', '', at5()],
      ['DDL at the last', at5(), 'ddl:a@5', 'ddl:a@5', at5(true)],
      ['DDL at the last, seen', at5(true), 'ddl:a@5', '', at5(true)],
      ['DDL at the last behind a syncpoint (H1)', at5(false, true), 'ddl:a@5', '', at5(false, true)],
      ['DDL above', at5(true, true), 'ddl:a@6', 'ddl:a@6', at6(true)],
      ['TRUNCATE at the last', at5(), 'truncate:a@5', 'truncate:a@5', at5(true)],
      ['TRUNCATE at the last, seen', at5(true), 'truncate:a@5', '', at5(true)],
      ['syncpoint below', at5(), 'sync:a@4', '', at5()],
      ['syncpoint at the last', at5(true), 'sync:a@5', 'sync:a@5', at5(true, true)],
      ['syncpoint at the last, seen', at5(true, true), 'sync:a@5', '', at5(true, true)],
      ['syncpoint above', at5(true, true), 'sync:a@6', 'sync:a@6', at6(false, true)],
      ['resolved below', at5(true), 'res:a@4', 'res:a@4', at5(true)],
      ['resolved above', at5(true), 'res:a@6', 'res:a@6', at5(true)],
      ['everything up to startTs', { ...at5(), startTs: 5n }, 'a@5', '', { ...at5(), startTs: 5n }],
    ])('%s', (_, state, text, passes, expected) => {
      const [event] = deliveryOf(text).events;
      const step = dedupeStep(state, event!);
      expect(step.event === null ? '' : notationOf(step.event)).toBe(passes === '' ? '' : notationOf(deliveryOf(passes)));
      expect(step.state).toEqual(expected);
    });
  });

  operatorLaws({ make: () => dedupeCommitTs({ startTs: 4n }), items: () => [deliveryOf('a@5'), deliveryOf('a@5 a@6')], show: notationOf });
});
