import type { ObjectStore } from '../../lib/stores/index.ts';

/** Where a call of a store waits: before its effect, or between its effect and the answer. */
export type Stage = 'before' | 'after';

/** `store`, whose calls wait for `turn` twice: calls are numbered from 1. */
export function turnStore<Store extends ObjectStore>(
  store: Store,
  turn: (number: number, stage: Stage, name: string) => Promise<void> | void,
): Store {
  let calls = 0;
  return new Proxy(store, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== 'function' || typeof name !== 'string' || name === 'close') return member;
      const call = member.bind(target) as (...args: unknown[]) => unknown;
      if (name === 'list' || name === 'folders') {
        return async function* (...args: unknown[]) {
          const number = ++calls;
          await turn(number, 'before', `${name} ${String(args[0])}`);
          yield* call(...args) as AsyncIterable<unknown>;
        };
      }
      return async (...args: unknown[]) => {
        const number = ++calls;
        await turn(number, 'before', `${name} ${String(args[0])}`);
        const result = await call(...args);
        await turn(number, 'after', `${name} ${String(args[0])}`);
        return result;
      };
    },
  });
}
