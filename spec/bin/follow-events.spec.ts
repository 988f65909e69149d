import { describe, expect, it } from '@jest/globals';
import { followEvents } from '../../bin/follow-events.ts';
import type { StoredEvent } from '../../pipelines/index.ts';

const MINUTE_NS = 60_000_000_000n;
const NOW_MS = 60_000_000;
const NOW_NS = BigInt(NOW_MS) * 1_000_000n;

function eventAt(timestampNs: bigint, id: string): StoredEvent {
  return { line: id, timestampNs, id, row: 0, seq: 0n, type: 't', table: 'events' };
}

/** What is printed when each round finds these besides those of the rounds before, and from when on each round reads. */
async function follow(rounds: readonly (readonly StoredEvent[])[], sinceNs?: bigint) {
  const stored: StoredEvent[] = [];
  const stop = new AbortController();
  const from: (bigint | undefined)[] = [];
  const printed: string[] = [];
  let round = 0;
  async function* read(fromNs: bigint | undefined) {
    from.push(fromNs);
    stored.push(...rounds[round++]!);
    stored.sort((a, b) => Number(a.timestampNs - b.timestampNs));
    yield* stored.filter(({ timestampNs }) => fromNs === undefined || timestampNs >= fromNs);
  }
  const sleep = async () => {
    if (round === rounds.length) stop.abort();
  };
  for await (const { line } of followEvents({
    read,
    sinceNs,
    intervalMs: 1000,
    clock: { now: () => NOW_MS, sleep },
    signal: stop.signal,
  })) {
    printed.push(line);
  }
  return { printed, from };
}

describe('followEvents', () => {
  it('gives what there is, then what comes, each once', async () => {
    const { printed } = await follow([[eventAt(1n, 'a'), eventAt(2n, 'b')], [], [eventAt(3n, 'c')]]);
    expect(printed).toEqual(['a', 'b', 'c']);
  });

  it('gives an event that comes late up to five minutes behind the newest, and reads no further back', async () => {
    const late = [eventAt(NOW_NS - 8n * MINUTE_NS, 'too late'), eventAt(NOW_NS - 6n * MINUTE_NS, 'late')];
    const { printed, from } = await follow([[eventAt(NOW_NS - 2n * MINUTE_NS, 'a')], late]);
    expect(printed).toEqual(['a', 'late']);
    expect(from).toEqual([undefined, NOW_NS - 7n * MINUTE_NS]);
  });

  it('one whose time is far ahead hides nothing of what comes', async () => {
    const { printed, from } = await follow([[eventAt(NOW_NS * 2n, 'ahead')], [eventAt(NOW_NS, 'a')]]);
    expect(printed).toEqual(['ahead', 'a']);
    expect(from).toEqual([undefined, NOW_NS - 5n * MINUTE_NS]);
  });

  it('never reads before the time that it is given', async () => {
    const { from } = await follow([[eventAt(NOW_NS, 'a')], []], NOW_NS - MINUTE_NS);
    expect(from).toEqual([NOW_NS - MINUTE_NS, NOW_NS - MINUTE_NS]);
  });

  it('forgets ids that no round reads again, and no others', async () => {
    const many = Array.from({ length: 5000 }, (_, i) => eventAt((BigInt(i) * MINUTE_NS) / 100n, `n${i}`));
    const { printed } = await follow([many, [], []]);
    expect(printed).toEqual(many.map(({ line }) => line));
  });

  it('ends in the midst of a round when it is to', async () => {
    const stop = new AbortController();
    const printed: string[] = [];
    async function* read() {
      yield eventAt(1n, 'a');
      stop.abort();
      yield eventAt(2n, 'b');
    }
    const clock = { now: () => NOW_MS, sleep: async () => {} };
    for await (const { line } of followEvents({ read, intervalMs: 1000, clock, signal: stop.signal })) printed.push(line);
    expect(printed).toEqual(['a']);
  });
});
