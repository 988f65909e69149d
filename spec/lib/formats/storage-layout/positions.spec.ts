import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { OP_INSERT, RowBlockBuilder } from '../../../../lib/events/index.ts';
import {
  appendRuns,
  describeFile,
  expandRuns,
  matchesPositions,
  type PositionRun,
  parsePositions,
  rowsOfRuns,
  runsOf,
  stringifyPositions,
} from '../../../../lib/formats/storage-layout/index.ts';
import { tableOf } from '../../../support/blocks.ts';

type Place = readonly [commitTs: bigint, ordinal: number];

function blockAt(places: readonly Place[]) {
  const builder = new RowBlockBuilder();
  let current = -1n;
  for (const [commitTs, ordinal] of places) {
    if (commitTs !== current) builder.beginTransaction(commitTs, 0n);
    current = commitTs;
    builder.append(OP_INSERT, 0, ordinal);
  }
  return builder.build(tableOf(['a text']), Buffer.alloc(0));
}

const run = (commitTs: bigint, first: number, last = first): PositionRun => ({ commitTs, first, last });

describe('runsOf', () => {
  it.each<[string, Place[], PositionRun[]]>([
    ['one row', [[7n, 3]], [run(7n, 3)]],
    [
      'consecutive rows are one run',
      [
        [7n, 3],
        [7n, 4],
        [7n, 5],
      ],
      [run(7n, 3, 5)],
    ],
    [
      'a gap, where rows of other tables or filtered rows were',
      [
        [7n, 3],
        [7n, 5],
        [7n, 6],
      ],
      [run(7n, 3), run(7n, 5, 6)],
    ],
    [
      'each transaction for itself',
      [
        [7n, 0],
        [7n, 1],
        [8n, 2],
        [9n, 0],
      ],
      [run(7n, 0, 1), run(8n, 2), run(9n, 0)],
    ],
    [
      'the two rows of a split key update share their ordinal',
      [
        [7n, 3],
        [7n, 4],
        [7n, 4],
        [7n, 5],
      ],
      [run(7n, 3, 4), run(7n, 4, 5)],
    ],
  ])('%s', (_, places, runs) => {
    expect(runsOf(blockAt(places))).toEqual(runs);
  });

  it('stands for each row’s position, in order, whatever the block', () => {
    const places = fc.array(fc.tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 2 })), { minLength: 1 }).map((steps) => {
      let commitTs = 5n;
      let ordinal = 0;
      return steps.map(([nextTransaction, step]): Place => {
        if (nextTransaction === 1) {
          commitTs++;
          ordinal = 0;
        }
        ordinal += step;
        return [commitTs, ordinal];
      });
    });
    fc.assert(
      fc.property(places, fc.nat(), (rows, cut) => {
        const at = cut % rows.length;
        const runs: PositionRun[] = [];
        if (at > 0) appendRuns(runs, runsOf(blockAt(rows.slice(0, at))));
        appendRuns(runs, runsOf(blockAt(rows.slice(at))));
        expect(Array.from(expandRuns(runs), ({ commitTs, ordinal }) => [commitTs, ordinal])).toEqual(rows);
        expect(rowsOfRuns(runs)).toBe(rows.length);
      }),
    );
  });
});

describe('the positions sidecar', () => {
  const parts = [Buffer.from('header\n'), Buffer.from('rows\n')];
  const positions = describeFile(parts, [run(438347201540472834n, 0, 9), run(438347201540472835n, 4)]);

  it('lists rows, bytes, checksum and runs, the commit-ts exactly', () => {
    expect(stringifyPositions(positions)).toBe(
      '{"v":1,"rows":11,"bytes":12,"crc32":1558969530,"runs":[["438347201540472834",0,9],["438347201540472835",4,4]]}',
    );
    expect(parsePositions(stringifyPositions(positions), 'p')).toEqual(positions);
    expect(parsePositions(stringifyPositions(describeFile([], [])), 'p').runs).toEqual([]);
  });

  it('reads runs however they are written', () => {
    const position = fc.tuple(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.nat(1000), fc.nat(1000));
    fc.assert(
      fc.property(fc.array(position), fc.boolean(), (places, hasAlternative) => {
        const runs = places.map(([commitTs, first, more]) => run(commitTs, first, first + more));
        const described = { ...describeFile([], runs), ...(hasAlternative && { alternatives: [describeFile([], runs.slice(1))] }) };
        const text = stringifyPositions(described);
        const { runs: list, ...others } = JSON.parse(text) as { runs: unknown };
        expect(parsePositions(text, 'p')).toEqual(described);
        for (const other of [
          { ...others, runs: list },
          { runs: list, ...others },
        ]) {
          expect(parsePositions(JSON.stringify(other), 'p')).toEqual(described);
          expect(parsePositions(JSON.stringify(other, null, 1), 'p')).toEqual(described);
        }
      }),
    );
  });

  it.each([
    ['the same bytes, cut otherwise', [Buffer.from('header\nrow'), Buffer.from('s\n')], true],
    ['other bytes', [Buffer.from('header\nROWS\n')], false],
    ['fewer bytes', [Buffer.from('header\nrows')], false],
  ])('recognises its file: %s', (_, candidate, matches) => {
    expect(matchesPositions(positions, candidate)).toBe(matches);
  });

  it.each([
    ['no JSON', '{', 'it is no JSON'],
    ['null', 'null', 'its version is not 1'],
    ['another version', '{"v":2}', 'its version is not 1'],
    ['no runs', '{"v":1,"rows":0,"bytes":0,"crc32":0}', 'a member is missing'],
    ['a run without its last ordinal', '{"v":1,"rows":1,"bytes":0,"crc32":0,"runs":[["1",0]]}', 'a run is no'],
    ['a run that goes back', '{"v":1,"rows":1,"bytes":0,"crc32":0,"runs":[["1",2,1]]}', 'a run is no'],
    ['an ordinal beyond u32', '{"v":1,"rows":1,"bytes":0,"crc32":0,"runs":[["1",4294967296,4294967296]]}', 'a run is no'],
    ['a commit-ts that is a number', '{"v":1,"rows":1,"bytes":0,"crc32":0,"runs":[[1,0,0]]}', 'a run is no'],
    ['runs that are not as many rows', '{"v":1,"rows":2,"bytes":0,"crc32":0,"runs":[["1",0,0]]}', 'not as many rows'],
  ])('refuses %s, naming the path', (_, content, reason) => {
    expect(() => parsePositions(content, 'a/meta/x.positions')).toThrow('MR_STORAGE_FILE_MALFORMED: a/meta/x.positions');
    expect(() => parsePositions(content, 'a/meta/x.positions')).toThrow(reason);
  });
});
