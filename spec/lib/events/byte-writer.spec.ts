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

  it.each([
    ['', 'a', 'v12'],
    ['~'.repeat(23), '~'.repeat(24), '~'.repeat(25)],
    ['\0\x7f', 'a\x80', 'ÿ'.repeat(24)],
    [`${'a'.repeat(23)}é`, `${'a'.repeat(22)}😀`, '€'.repeat(30)],
    ['half of a pair: \ud83d', '\udc0e', `${'x'.repeat(40)}\ud83d`],
  ])('writes %j, %j and %j as UTF-8, whichever way short text takes', (...texts) => {
    const writer = new ByteWriter(0);
    for (const text of texts) writer.writeText(text);
    expect(writer.take()).toEqual(Buffer.concat(texts.map((text) => Buffer.from(text))));
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

  it('gives away its buffer without a copy and goes on in another, of which it uses no byte beyond the end', () => {
    const writer = new ByteWriter(8);
    writer.writeText('one');
    const { buffer } = writer;
    const memory = Buffer.alloc(16);
    expect(writer.give(memory.subarray(4, 12))).toBe(buffer);
    writer.writeText('tw');
    writer.view.setUint8(writer.length++, 0x6f);
    expect([buffer.toString('latin1', 0, 3), memory.toString('latin1', 4, 7)]).toEqual(['one', 'two']);
    writer.writeBytes(Buffer.alloc(8, 0x21));
    expect([writer.take().toString(), memory.subarray(12)]).toEqual(['two!!!!!!!!', Buffer.alloc(4)]);
  });
});
