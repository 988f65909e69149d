import { describe, expect, it } from '@jest/globals';
import { displayName } from '../../../../lib/sources/postgres/publication.ts';

describe('displayName', () => {
  it.each([
    ['public', 'orders', 'public.orders'],
    ['s_1', '_t$2', 's_1._t$2'],
    ['public', 'größe', 'public.größe'],
    ['public', 'Orders', 'public."Orders"'],
    ['public', 'a.b', 'public."a.b"'],
    ['a, b', 'c', '"a, b".c'],
    ['public', 'we"ird', 'public."we""ird"'],
    ['public', '1st', 'public."1st"'],
  ])('writes table %s.%s as %s, so that a message reads as SQL would take it', (schema, name, expected) => {
    expect(displayName({ schema, name })).toBe(expected);
  });
});
