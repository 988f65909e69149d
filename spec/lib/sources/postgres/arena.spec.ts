import { describe, expect, it } from '@jest/globals';
import { Arena } from '../../../../lib/sources/postgres/arena.ts';

const CHUNK = 16;

describe('Arena', () => {
  it.each([
    { title: 'half of the chunk: the chunk itself goes, so that nothing is copied', parsed: 8, given: CHUNK },
    { title: 'less than half: a copy of the exact size goes, so that little does not pin much', parsed: 7, given: 7 },
    { title: 'all of it', parsed: 16, given: CHUNK },
  ])('gives away what is parsed: $title', ({ parsed, given }) => {
    const arena = new Arena(CHUNK);
    const chunk = arena.bytes;
    arena.append(Buffer.from('0123456789abcdef'));
    arena.at = parsed;
    const taken = arena.take();
    expect(taken.length).toBe(given);
    expect(taken === chunk).toBe(given === CHUNK);
    expect(taken.toString('latin1', 0, parsed)).toBe('0123456789abcdef'.slice(0, parsed));
    expect(arena.bytes.toString('latin1', arena.at, arena.end)).toBe('0123456789abcdef'.slice(parsed));
    expect(arena.at).toBe(0);
    expect(arena.bytes.length).toBe(CHUNK);
  });

  it('does not write into what it gave away', () => {
    const arena = new Arena(CHUNK);
    arena.append(Buffer.from('0123456789'));
    arena.at = 9;
    const taken = arena.take();
    arena.append(Buffer.from('xxxxxxxxxxxx'));
    expect(taken.toString('latin1', 0, 10)).toBe('0123456789');
    expect(arena.bytes.toString('latin1', arena.at, arena.end)).toBe('9xxxxxxxxxxxx');
  });

  it('makes room for a message that is larger than a chunk, and goes back to chunks behind it', () => {
    const arena = new Arena(CHUNK);
    arena.append(Buffer.from('0123456789'));
    arena.at = 8;
    arena.reclaim(100);
    expect(arena.bytes.length).toBe(100);
    expect(arena.room).toBe(98);
    arena.append(Buffer.alloc(98, 'y'));
    arena.at = 100;
    expect(arena.take().toString('latin1', 0, 3)).toBe('89y');
    expect(arena.bytes.length).toBe(CHUNK);
  });

  it('grows in place, keeping offsets, when more comes than there is room for', () => {
    const arena = new Arena(CHUNK);
    arena.append(Buffer.from('0123456789'));
    arena.at = 4;
    arena.append(Buffer.alloc(40, 'z'));
    expect(arena.at).toBe(4);
    expect(arena.bytes.toString('latin1', 0, arena.end)).toBe(`0123456789${'z'.repeat(40)}`);
  });
});
