import { describe, expect, it } from '@jest/globals';
import { isMillraceError } from '../../../lib/errors.ts';
import type { ObjectStore, ObjectVersion } from '../../../lib/stores/index.ts';
import { simulate } from '../../../lib/testing/index.ts';
import { replayCommand } from '../campaign.ts';
import { ALL_STEPS, failuresAt, type Step, told } from '../enumerated-steps.ts';
import { type CleanUpParts, cleanUp, HONEST } from './clean-up.ts';
import { RULES, type Rule } from './rules.ts';
import { runStep } from './steps.ts';

const SEEDS = 12;
const TIMEOUT_MS = 240_000;

describe('a target that is cleaned up while it is written and read', () => {
  it(
    `loses nothing that has not expired, tells readers of what it lost, and is clean in the end: seeds 1 to ${SEEDS}`,
    async () => {
      const met = { removed: 0, brokeOff: 0, refused: 0, down: 0, failed: 0, truncated: 0, skewed: 0 };
      for (let seed = 1; seed <= SEEDS; seed++) {
        const { trace } = await simulate({ seed, replay: replayCommand('clean-up', seed), world: (sim) => cleanUp(sim) });
        if (told(trace, 'store', /^delete .*CDC/) > 0) met.removed++;
        if (told(trace, 'store', /^delete .*fails/) > 0) met.brokeOff++;
        if (told(trace, 'reader', /^is told that changes are missing/) > 0) met.refused++;
        if (told(trace, 'node', /^(crashes|is killed)$/) > 0) met.down++;
        if (told(trace, 'supervisor', /failed/) > 0) met.failed++;
        if (told(trace, 'days', /clock is wrong/) > 0) met.skewed++;
        if (told(trace, 'store', /^put public\/users\/meta\/schema_/) > 1) met.truncated++;
      }
      // A seed that shows none of it shows nothing of clean-up.
      expect(Object.entries(met).filter(([, seeds]) => seeds === 0)).toEqual([]);
      expect(met.removed).toBe(SEEDS);
    },
    TIMEOUT_MS,
  );
});

describe('a clean-up that goes down at each of its steps', () => {
  it('is several runs that list, look, write down and delete, of two tables and two versions', async () => {
    const { calls, result } = await runStep(null);
    const { trace } = result;
    expect(calls.length).toBeGreaterThan(50);
    expect(told(trace, 'store', /^putIf meta\/cleaned\.json /)).toBeGreaterThan(3);
    for (const kind of ['index', 'json', 'positions']) expect(told(trace, 'store', new RegExp(`^delete .*\\.${kind}$`))).toBeGreaterThan(5);
    for (const folder of ['logs/1', 'users/1', 'users/\\d\\d+']) {
      expect(told(trace, 'store', new RegExp(`^delete public/${folder}/`))).toBeGreaterThan(0);
    }
  });

  it.each(['before', 'after'] as const)(
    'I8: takes nothing from readers that they are not told of, and the next one goes on: it ends %s the effect of its steps',
    async (when) => {
      const { calls } = await runStep(null);
      // What comes behind one call's effect is, but for its answer, what comes before the next call's.
      const ends = when === 'before' || ALL_STEPS ? calls : calls.filter((_, i) => i % 3 === 0);
      const steps = ends.map((at): Step => ({ at, when, how: at % 2 === 0 ? 'kill' : 'crash' }));
      expect(await failuresAt(steps, runStep)).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

/** The store, with some of its calls answered otherwise. */
function otherwise(store: ObjectStore, calls: Partial<ObjectStore>): ObjectStore {
  return new Proxy(store, {
    get: (target, name) => {
      const member: unknown = Reflect.get(name in calls ? calls : target, name);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}

const isMark = (key: string) => key === 'meta/cleaned.json';
/** A file of a data folder whose index is gone. */
const isLeft = (key: string, indexes: ReadonlySet<string>) =>
  /CDC\d/.test(key) && !indexes.has(key.replace(/(?:\/meta)?\/CDC.*$/, '/meta/CDC.index'));

describe('a clean-up with a broken part is noticed', () => {
  it.each<[what: string, parts: Partial<CleanUpParts>, breaks: readonly Rule[]]>([
    [
      'what goes is not written down before',
      {
        store: (store) =>
          otherwise(store, { putIf: async (key, ...rest) => (isMark(key) ? ('0' as ObjectVersion) : store.putIf(key, ...rest)) }),
      },
      ['told'],
    ],
    ['more goes than has expired', { expirationDays: (days) => Math.max(1, days - 1) }, ['kept', 'follower']],
    [
      'readers do not look at what was written down',
      { reading: (store) => otherwise(store, { get: async (key) => (isMark(key) ? null : store.get(key)) }) },
      ['whole', 'follower'],
    ],
    [
      'what broke off is not taken up again',
      {
        store: (store) =>
          otherwise(store, {
            async *list(prefix) {
              const found = [];
              for await (const object of store.list(prefix)) found.push(object);
              const indexes = new Set(found.map(({ key }) => key).filter((key) => key.endsWith('.index')));
              yield* prefix === '' ? found.filter(({ key }) => !isLeft(key, indexes)) : found;
            },
          }),
      },
      ['goesOn'],
    ],
  ])('%s', async (_, parts, breaks) => {
    const rules: string[] = [];
    for (let seed = 1; seed <= 20 && rules.length === 0; seed++) {
      try {
        await simulate({ seed, world: (sim) => cleanUp(sim, undefined, { ...HONEST, ...parts }) });
      } catch (error) {
        if (!isMillraceError(error, 'MR_SIMULATION_FAILED')) throw error;
        rules.push(String(error.details['invariant']));
      }
    }
    expect(breaks.map((rule) => RULES[rule] as string)).toContain(rules[0]);
  });
});
