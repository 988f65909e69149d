import { describe, expect, it } from '@jest/globals';
import { viewOf, WordText } from '../../../lib/formats/word-text.ts';

describe('WordText', () => {
  it.each(['', 'a', 'abc', 'abcd', 'abcde', ',"näme":"'])('writes %j where it is told and stays within its room', (text) => {
    const words = new WordText(text);
    const target = Buffer.alloc(1 + words.room, 0x2e);
    const end = words.write(viewOf(target), 1);
    expect(target.toString('utf8', 1, end)).toBe(text);
    expect(target[0]).toBe(0x2e);
  });

  it('writes what was changed in its bytes after a reload', () => {
    const words = new WordText('abcdef');
    words.bytes[4] = 0x58;
    words.reload();
    const target = Buffer.alloc(words.room);
    expect(target.toString('utf8', 0, words.write(viewOf(target), 0))).toBe('abcdXf');
  });
});
