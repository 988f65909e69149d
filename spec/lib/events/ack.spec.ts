import { describe, expect, it } from '@jest/globals';
import { TwoStageAck } from '../../../lib/events/index.ts';

/** An ack whose functions write down that they ran. */
function logged(): { ack: TwoStageAck; log: string[] } {
  const ack = new TwoStageAck();
  const log: string[] = [];
  ack.addPostEnqueue(() => log.push('enqueue'));
  ack.addPostFlush(() => log.push('flush'));
  return { ack, log };
}

/** spec storage-sink §3 */
describe('TwoStageAck', () => {
  it('runs the enqueue functions once, however often the event is enqueued, because a source is woken once', () => {
    const { ack, log } = logged();
    ack.postEnqueue();
    ack.postEnqueue();
    expect(log).toEqual(['enqueue']);
  });

  it('runs no flush function at the enqueue ack, because accepted is not durable', () => {
    const { ack, log } = logged();
    ack.postEnqueue();
    expect(log).not.toContain('flush');
  });

  it('runs the flush functions and then enqueues, so that a sink that knows of no enqueue ack still wakes its source', () => {
    const { ack, log } = logged();
    ack.postFlush();
    expect(log).toEqual(['flush', 'enqueue']);
  });

  it('does not enqueue again when an enqueued event is flushed', () => {
    const { ack, log } = logged();
    ack.postEnqueue();
    ack.postFlush();
    expect(log).toEqual(['enqueue', 'flush']);
  });

  it('makes a late enqueue ack nothing, when the flush overtook one that was held back', () => {
    const { ack, log } = logged();
    ack.postFlush();
    ack.postEnqueue();
    expect(log).toEqual(['flush', 'enqueue']);
  });

  it('runs the flush functions again at a second flush, and the enqueue functions never again', () => {
    const { ack, log } = logged();
    ack.postFlush();
    ack.postFlush();
    expect(log).toEqual(['flush', 'enqueue', 'flush']);
  });

  it('runs functions in the order they were added, and those put in front before all others', () => {
    const ack = new TwoStageAck();
    const log: string[] = [];
    ack.addPostFlush(() => log.push('b'));
    ack.addPostFlush(() => log.push('c'));
    ack.addPostFlushFront(() => log.push('a'));
    ack.addPostEnqueue(() => log.push('d'));
    ack.addPostEnqueue(() => log.push('e'));
    ack.postFlush();
    expect(log).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('enqueues once when an enqueue function enqueues again', () => {
    const ack = new TwoStageAck();
    let runs = 0;
    ack.addPostEnqueue(() => {
      runs++;
      ack.postEnqueue();
    });
    ack.postEnqueue();
    expect(runs).toBe(1);
  });

  it('acks nobody else', () => {
    const one = logged();
    const other = logged();
    one.ack.postFlush();
    expect(other.log).toEqual([]);
  });

  describe('detached', () => {
    it('leaves the event without functions, because a queue holds acks and not rows', () => {
      const { ack, log } = logged();
      ack.detach();
      ack.postFlush();
      expect(log).toEqual([]);
    });

    it.each([
      ['flush enqueues behind itself', (ack: TwoStageAck) => ack.postFlush(), ['flush', 'enqueue']],
      [
        'enqueue happens once',
        (ack: TwoStageAck) => {
          ack.postEnqueue();
          ack.postEnqueue();
          ack.postFlush();
        },
        ['enqueue', 'flush'],
      ],
    ])('keeps the rules: %s', (_, act, expected) => {
      const { ack, log } = logged();
      act(ack.detach());
      expect(log).toEqual(expected);
    });

    it('remembers that the event was enqueued before', () => {
      const { ack, log } = logged();
      ack.postEnqueue();
      const detached = ack.detach();
      detached.addPostEnqueue(() => log.push('late'));
      detached.postFlush();
      expect(log).toEqual(['enqueue', 'flush']);
    });
  });
});
