import { describe, expect, it } from '@jest/globals';
import { ByteWriter } from '../../../lib/events/index.ts';

describe('ByteWriter', () => {
  it.each([0, 1, 3, 4096])('grows from %i bytes and keeps what was written', (initialBytes) => {
    const writer = new ByteWriter(initialBytes);
    writer.writeByte(0x61);
    writer.writeBytes(Buffer.from('bc'));
    writer.writeText('dé€😀');
    writer.ensure(1000);
    expect(writer.take().toString()).toBe('abcdé€😀');
  });

  it('gives away a copy of its exact size and starts again in the same buffer', () => {
    const writer = new ByteWriter(8);
    writer.writeText('one');
    const { buffer } = writer;
    const one = writer.take();
    writer.writeText('two');
    expect([one.toString(), one.length, one.buffer.byteLength >= 3, writer.buffer]).toEqual(['one', 3, true, buffer]);
    expect(writer.take().toString()).toBe('two');
  });
});
