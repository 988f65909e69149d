import { defer, type Observable, type OperatorFunction } from 'rxjs';
import type { Delivery } from '../events/index.ts';
import { type Context, createContext } from './context.ts';

/** Plain data, as `describe` prints it. */
export type PlainOptions = Readonly<Record<string, unknown>>;

/**
 * An RxJS operator with a name and plain options, so that the same value works inside `.pipe()` and inside a pipeline definition. Used bare, each
 * subscription has a context of its own; `withContext` gives it the context of a run.
 */
export interface Operator<In, Out> extends OperatorFunction<In, Out> {
  readonly operatorName: string;
  readonly options: PlainOptions;
  /** The operators this one is composed of. */
  readonly parts: readonly Operator<never, unknown>[];
  /** The plain RxJS operator that works with `context`. */
  withContext(context: Context): OperatorFunction<In, Out>;
}

/** A stage of a definition: deliveries in, for each of them exactly one delivery out, in order. */
export type Stage = Operator<Delivery, Delivery>;

/**
 * Makes an operator. `build` is called once per subscription, so whatever state it makes belongs to that subscription.
 *
 * @param options what the operator was configured with: plain data for `describe`, without live things and secrets.
 */
export function operator<In, Out>(
  operatorName: string,
  options: PlainOptions,
  build: (context: Context) => (source: Observable<In>) => Observable<Out>,
  parts: readonly Operator<never, unknown>[] = [],
): Operator<In, Out> {
  const withContext = (context: Context) => (source: Observable<In>) => defer(() => build(context)(source));
  const bare = (source: Observable<In>) => defer(() => build(createContext())(source));
  return Object.freeze(
    Object.assign(bare, { operatorName, options: frozenCopy(options) as PlainOptions, parts: Object.freeze([...parts]), withContext }),
  );
}

/** Plain data as it is now: what the caller changes in it later changes nothing here. */
function frozenCopy(value: unknown): unknown {
  if (Array.isArray(value)) return Object.freeze(value.map(frozenCopy));
  if (!isPlainObject(value)) return value;
  return Object.freeze(Object.fromEntries(Object.entries(value).map(([key, part]) => [key, frozenCopy(part)])));
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // Not by identity: a literal of another realm is plain too.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** One operator from several, left to right; all of them share one context. */
export function compose<A, B>(name: string, ab: Operator<A, B>): Operator<A, B>;
export function compose<A, B, C>(name: string, ab: Operator<A, B>, bc: Operator<B, C>): Operator<A, C>;
export function compose<A, B, C, D>(name: string, ab: Operator<A, B>, bc: Operator<B, C>, cd: Operator<C, D>): Operator<A, D>;
export function compose<A, B, C, D, E>(
  name: string,
  ab: Operator<A, B>,
  bc: Operator<B, C>,
  cd: Operator<C, D>,
  de: Operator<D, E>,
): Operator<A, E>;
export function compose<A, B, C, D, E, F>(
  name: string,
  ab: Operator<A, B>,
  bc: Operator<B, C>,
  cd: Operator<C, D>,
  de: Operator<D, E>,
  ef: Operator<E, F>,
): Operator<A, F>;
export function compose(name: string, ...parts: Stage[]): Stage;
export function compose(name: string, ...parts: Operator<never, unknown>[]): Operator<never, unknown> {
  return operator<unknown, unknown>(
    name,
    {},
    (context) => (source) => parts.reduce((stream, part) => (part as Operator<unknown, unknown>).withContext(context)(stream), source),
    parts,
  );
}
