import { describe, expect, it } from '@jest/globals';
import { idlePatterns, splitTablePatterns, tableMatcher } from '../../../lib/events/index.ts';

describe('idlePatterns', () => {
  it.each<[string[], string[]]>([
    //patterns                           idle
    [['public.users'], []],
    [
      ['public.usres', ' shop.* '],
      ['public.usres', ' shop.* '],
    ],
    [['*.*', '!public.users'], []],
    [['public.*', '!shop.*', ' !a.b'], []],
    [[], []],
  ])('of %j leaves %j: an inclusion without a table is a slip, an exclusion a precaution', (patterns, idle) => {
    expect(idlePatterns(patterns, [{ schema: 'public', name: 'users' }])).toEqual(idle);
  });
});

describe('tableMatcher', () => {
  it.each([
    //  patterns                                  schema     table     chosen
    [['public.*'], 'public', 'users', true],
    [['public.*'], 'Public', 'users', false],
    [['public.*'], 'public2', 'users', false],
    [['public.*', '!public.tmp_*'], 'public', 'tmp_1', false],
    [['!public.tmp_*', 'public.*'], 'public', 'tmp_1', true],
    [['*.*'], 'any', 'thing', true],
    [['p*c.*e*'], 'public', 'events', true],
    [['p*c.*e*'], 'public', 'audit', false],
    [['public.a+b'], 'public', 'a+b', true],
    [['public.a+b'], 'public', 'aab', false],
    [[' public.users '], 'public', 'users', true],
    [['my schema.my table'], 'my schema', 'my table', true],
    [['"sch.ema"."ta.ble"'], 'sch.ema', 'ta.ble', true],
    [['"sch.ema"."ta.ble"'], 'schXema', 'ta.ble', false],
    [['"a*".b'], 'a*', 'b', true],
    [['"a*".b'], 'ab', 'b', false],
    [['"tmp."*.x'], 'tmp.1', 'x', true],
    [['"a""b".c'], 'a"b', 'c', true],
    [['!"a".b', 'a.*'], 'a', 'b', true],
    [['schéma.τ*'], 'schéma', 'τable', true],
    [['a.*'], 'a', 'b\nc', true],
  ])('%j on %s.%s is %s', (patterns, schema, name, isChosen) => {
    expect(tableMatcher(patterns)(schema, name)).toBe(isChosen);
  });

  it.each([[['users']], [['a.b.c']], [['.a']], [['a.']], [['*']], [['"a.b']], [['']], [['a.b,c.d"']]])(
    'refuses %j, which is no schema.table',
    (patterns) => {
      expect(() => tableMatcher(patterns)).toThrow(/MR_INVALID_OPTION.*schema\.table/);
    },
  );

  it.each([[[]], [['!public.users']]])('refuses %j, which chooses nothing', (patterns) => {
    expect(() => tableMatcher(patterns)).toThrow(/MR_INVALID_OPTION.*at least one pattern/);
  });
});

describe('splitTablePatterns', () => {
  it.each([
    ['public.*,!public.tmp_*', ['public.*', '!public.tmp_*']],
    [' public.* , shop.users ', ['public.*', 'shop.users']],
    ['"a,b".c,d.e', ['"a,b".c', 'd.e']],
    ['"a"",b".c', ['"a"",b".c']],
    [',,', []],
    ['', []],
  ])('%s', (text, patterns) => {
    expect(splitTablePatterns(text)).toEqual(patterns);
  });
});
