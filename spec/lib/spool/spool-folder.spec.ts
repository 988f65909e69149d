import { tmpdir, userInfo } from 'node:os';
import { describe, expect, it } from '@jest/globals';
import { spoolFolder } from '../../../lib/spool/index.ts';

/** spec storage-sink §2.1, §7.1 */
describe('spoolFolder', () => {
  it.each([
    ['orders', '/var/spool', '/var/spool/orders'],
    ['orders', '', `${tmpdir()}/millrace-spool-${userInfo().uid}/orders`],
    ['../etc', '/var/spool', '/var/spool/%2E.%2Fetc'],
    ['a/b', '/var/spool', '/var/spool/a%2Fb'],
    ['2024', '/var/spool', '/var/spool/%32024'],
  ])('of %j below %j is %j: no name leaves it', (pipeline, base, folder) => {
    expect(spoolFolder(pipeline, base)).toBe(folder);
  });

  it('refuses a base that is not absolute, naming the option', () => {
    expect(() => spoolFolder('orders', 'spool')).toThrow(
      expect.objectContaining({
        code: 'MR_INVALID_OPTION',
        details: { option: 'spool-base-dir', value: '"spool"', bound: 'an absolute path' },
      }),
    );
  });
});
