import { expect, it } from '@jest/globals';
import { operator } from '../../../lib/flow/index.ts';

it('an operator keeps the options it was made with, whatever becomes of the objects they came in', () => {
  const options = { tables: ['public.*'], rule: { to: 'lake' }, startTs: 1n, note: undefined };
  const made = operator('one', options, () => (source) => source);
  options.tables.push('!public.secret');
  options.rule.to = 'elsewhere';
  expect(made.options).toEqual({ tables: ['public.*'], rule: { to: 'lake' }, startTs: 1n, note: undefined });
  expect([made.options, made.options['tables'], made.options['rule']].every(Object.isFrozen)).toBe(true);
});
