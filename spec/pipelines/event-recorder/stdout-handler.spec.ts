import { Writable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { createContext } from '../../../lib/flow/index.ts';
import { isRetryable } from '../../../pipelines/event-recorder/event.ts';
import { stdoutEvents } from '../../../pipelines/event-recorder/handlers/stdout.ts';
import { FIRST_TRY, groupOf } from './events.ts';

describe('stdoutEvents', () => {
  it('writes a line for each row, and is done when the stream has taken them', async () => {
    let text = '';
    let take = () => {};
    const stream = new Writable({
      write(chunk: Buffer, _encoding, done) {
        take = () => {
          text += chunk.toString();
          done();
        };
      },
    });
    const handler = stdoutEvents({ stream });
    let isDone = false;
    const delivered = handler
      .deliver(
        groupOf([
          { type: 'a', payload: 1 },
          { type: 'a', payload: 2 },
        ]),
        FIRST_TRY,
      )
      .then(() => {
        isDone = true;
      });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isDone).toBe(false);
    take();
    await delivered;
    expect(
      text
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { payload: number }).payload),
    ).toEqual([1, 2]);
  });

  it('prints numbers as text, as `millrace events` does: JSON.parse takes neighbours beyond 2^53 for one', async () => {
    let text = '';
    const stream = new Writable({
      write(chunk: Buffer, _encoding, done) {
        text += chunk.toString();
        done();
      },
    });
    const from = (1_795_000_000_000n << 16n) + 1n;
    await stdoutEvents({ stream }).deliver(groupOf([{ type: 'a', payload: { event_seq: 7 } }, { type: 'a' }], { from }), FIRST_TRY);
    const lines = text.trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { event_seq: String(from), payload: { event_seq: 7 } },
      { event_seq: String(from + 1n) },
    ]);
  });

  it('a stream whose reader went away fails the call and does not end the process', async () => {
    const stream = new Writable({ write: (_chunk, _encoding, done) => done(new Error('EPIPE')) });
    const handler = stdoutEvents({ stream });
    await handler.open?.(createContext());
    const error = await handler.deliver(groupOf([{ type: 'a' }]), FIRST_TRY).catch((failure: unknown) => failure);
    expect(error).toMatchObject({ code: 'MR_EVENT_TARGET_FAILED', message: expect.stringContaining('EPIPE') });
    expect(isRetryable(error)).toBe(true);
    await handler.close?.();
    expect(stream.listenerCount('error')).toBe(0);
  });

  it('a call that is given up rejects though the stream takes nothing', async () => {
    const giveUp = new AbortController();
    const delivered = stdoutEvents({ stream: new Writable({ write() {} }) }).deliver(groupOf([{ type: 'a' }]), {
      signal: giveUp.signal,
      attempt: 1,
    });
    giveUp.abort();
    await expect(delivered).rejects.toThrow('given up');
  });
});
