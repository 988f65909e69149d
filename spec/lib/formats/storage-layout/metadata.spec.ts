import { describe, expect, it } from '@jest/globals';
import { parseMetadata, stringifyMetadata } from '../../../../lib/formats/storage-layout/index.ts';

/** spec storage-sink §4.5 */
describe('metadata', () => {
  it('is exactly the checkpoint, beyond 2^53 too', () => {
    expect(stringifyMetadata(18446744073709551615n)).toBe('{"checkpoint-ts":18446744073709551615}');
    expect(parseMetadata('{"checkpoint-ts":18446744073709551615}')).toBe(18446744073709551615n);
  });

  it.each(['', '{}', '{"checkpoint-ts":"7"}', '{"checkpoint-ts":7.5}'])('%j is refused', (content) => {
    expect(() => parseMetadata(content)).toThrow('MR_STORAGE_FILE_MALFORMED: metadata');
  });
});
