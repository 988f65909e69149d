import { describe, expect, it } from '@jest/globals';
import { parseIndexFile, stringifyIndexFile } from '../../../../lib/formats/storage-layout/index.ts';

/** spec storage-sink §5.3 */
describe('index files', () => {
  it('hold the base name of the newest data file and a newline', () => {
    expect(stringifyIndexFile('CDC00000000000000000042.json')).toBe('CDC00000000000000000042.json\n');
  });

  it.each([
    ['CDC00000000000000000042.json\n', 42],
    ['CDC000042.json', 42],
    ['CDC_a_000042.json\n', 42],
  ])('%j publishes %i', (content, index) => {
    expect(parseIndexFile(content, '.json', 'p')).toBe(index);
  });

  it.each(['', '\n', 'CDC000042.csv\n', 'CDC99999999999999999999.json\n', '42\n'])('%j is refused with its path', (content) => {
    expect(() => parseIndexFile(content, '.json', 'a/meta/CDC.index')).toThrow('MR_STORAGE_FILE_MALFORMED: a/meta/CDC.index');
  });
});
