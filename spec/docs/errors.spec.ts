import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { errorsDocument } from '../../docs/make-errors.ts';
import { ERRORS, MillraceError } from '../../lib/errors.ts';

describe('docs/errors.md', () => {
  it('is what docs/make-errors.ts makes of the table, so that it never lags (run `npx tsx docs/make-errors.ts`)', () => {
    expect(readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')).toBe(errorsDocument());
  });

  it.each(Object.entries(ERRORS))('%s has a message and a remedy that read as sentences', (_, { message, remedy }) => {
    expect(message).toMatch(/^[^.]\S*.*[^.]$/s);
    expect(remedy).toMatch(/\S.*\.$|^\{\w+\}(:\{\w+\})?$/s);
  });

  it('the message of an error holds its code, its values and the remedy', () => {
    const error = new MillraceError('MR_INVALID_OPTION', { option: 'slot', value: 'A B', bound: 'small' });
    expect(error.message).toBe('MR_INVALID_OPTION: option slot is A B; it must be small. Correct the option.');
  });

  it('a message that ends with another error has one full stop there', () => {
    const cause = new MillraceError('MR_STORE_FULL', { path: '/out', reason: 'ENOSPC' });
    const error = new MillraceError('MR_SINK_FAILED', { sink: 'files', reason: cause.message });
    expect(error.message).toContain(`${cause.message} Remove the cause`);
    expect(error.message).not.toContain('..');
  });
});
