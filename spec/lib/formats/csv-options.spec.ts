import { describe, expect, it } from '@jest/globals';
import { csvLayout } from '../../../lib/formats/csv-options.ts';

/** spec storage-sink §7.3 */
describe('csvLayout', () => {
  it.each([
    ['quote', { quote: '""' }, 'csv config quote contains more than one character'],
    ['quote', { quote: 'é' }, 'csv config quote contains more than one character'],
    ['quote', { quote: '\n' }, 'csv config quote cannot be line break character'],
    ['quote', { quote: '1' }, 'csv config quote cannot be a character of numbers or base64'],
    ['delimiter', { delimiter: '' }, 'csv config delimiter cannot be empty'],
    ['delimiter', { delimiter: '\r' }, 'csv config delimiter contains line break characters'],
    [
      'delimiter',
      { delimiter: '[**]' },
      'csv config delimiter contains more than three characters, note that escape sequences can only be used in double quotes in toml configuration items.',
    ],
    ['delimiter', { delimiter: '😀' }, 'csv config delimiter contains more than three characters'],
    ['delimiter', { delimiter: '|"' }, 'csv config quote and delimiter has common characters which is not allowed'],
    ['delimiter', { delimiter: '0' }, 'csv config delimiter contains letters or digits'],
    ['delimiter', { delimiter: '\\', quote: '' }, 'csv config delimiter contains a backslash'],
    ['null', { null: 'a,b' }, 'csv config null contains a line break, the delimiter'],
    ['null', { null: '\\', quote: '' }, 'ends with an escape'],
    ['terminator', { terminator: ';', quote: '' }, 'csv config terminator can only be line break characters when quote is empty'],
    ['binary-encoding-method', { binaryEncodingMethod: 'base32' as 'hex' }, 'csv config binary-encoding-method can only be hex or base64'],
  ])('refuses %s of %j, naming option, value and bound', (option, options, reason) => {
    const value = JSON.stringify(Object.values(options)[0]);
    expect(() => csvLayout(options)).toThrow(`MR_INVALID_OPTION: option ${option} is ${value}`);
    expect(() => csvLayout(options)).toThrow(reason);
  });

  it('checks binary-encoding-method last', () => {
    expect(() => csvLayout({ binaryEncodingMethod: 'x' as 'hex', delimiter: '' })).toThrow('delimiter cannot be empty');
  });

  it('takes upstream’s defaults, but with the commit-ts, which readers need', () => {
    expect(csvLayout()).toEqual({
      delimiter: Buffer.from(','),
      quote: 0x22,
      nullText: Buffer.from('\\N'),
      terminator: Buffer.from('\r\n'),
      includeCommitTs: true,
      isHex: false,
      outputOldValue: false,
      outputFieldHeader: false,
    });
  });
});
