import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { systemEventsDocument } from '../../docs/make-system-events.ts';
import { SLOW_OPERATIONS, SYSTEM_EVENTS } from '../../lib/flow/index.ts';

describe('docs/system-events.md', () => {
  it('is what docs/make-system-events.ts makes of the definitions, so that it never lags (run `npx tsx docs/make-system-events.ts`)', () => {
    expect(readFileSync(new URL('../../docs/system-events.md', import.meta.url), 'utf8')).toBe(systemEventsDocument());
  });

  it.each(Object.entries(SYSTEM_EVENTS))('%s is named as all are, and says what it is and what it holds', (type, { help, fields }) => {
    expect(type).toMatch(/^[a-z]+(_[a-z]+)+$/);
    expect(help).toMatch(/^[A-Z].*\.$/);
    for (const [name, text] of Object.entries(fields)) {
      expect(name).toMatch(/^[a-z]+(_[a-z]+)*$/);
      // A payload has the pipeline's name there.
      expect(name).not.toBe('pipeline');
      expect(text).toMatch(/\S/);
    }
  });

  it.each(Object.entries(SLOW_OPERATIONS))('%s says what it is', (_, { help, details }) => {
    expect(help).toMatch(/^[a-z].*[^.]$/);
    expect(details.length).toBeGreaterThan(0);
  });
});
