import { Observable } from 'rxjs';
import { MillraceError } from '../lib/errors.ts';
import { link, type Operator, operator, requireNumber } from '../lib/flow/index.ts';

/** One input has come to this commitTs. */
export interface InputResolved {
  readonly input: number | string;
  readonly commitTs: bigint;
}

/**
 * The resolved-ts of many inputs: their minimum.
 *
 * In plain words: together they are as far as the slowest.
 *
 * ![mergeResolved](../docs/operators/merge-resolved.svg)
 *
 * Nothing is emitted before each of the `inputs` has been heard, and then only when the minimum moves. An input that goes back is taken at the furthest it
 * came to, so the result never goes back.
 *
 * @example
 * ```ts
 * import { mergeResolved } from 'millrace/operators';
 * import { from } from 'rxjs';
 *
 * const inputs = [
 *   { input: 'left', commitTs: 5n },
 *   { input: 'right', commitTs: 3n },
 *   { input: 'right', commitTs: 7n },
 * ];
 *
 * from(inputs)
 *   .pipe(mergeResolved({ inputs: 2 }))
 *   .subscribe((commitTs) => console.log(commitTs));
 * // → 3n
 * // → 5n
 * ```
 *
 * @param options.inputs how many inputs there are, at least 1.
 * @returns an operator to commitTs. It fails with MR_INVALID_OPTION when more inputs than that are heard.
 */
export function mergeResolved({ inputs }: { inputs: number }): Operator<InputResolved, bigint> {
  requireNumber('inputs', inputs, 1);
  return operator('mergeResolved', { inputs }, () => (source) => {
    return new Observable((subscriber) => {
      const resolved = new Map<InputResolved['input'], bigint>();
      let minimum = -1n;
      link(source, subscriber, {
        next: ({ input, commitTs }) => {
          const previous = resolved.get(input);
          if (previous !== undefined && commitTs <= previous) return;
          if (previous === undefined && resolved.size === inputs) {
            return subscriber.error(
              new MillraceError('MR_INVALID_OPTION', {
                option: 'inputs',
                value: inputs,
                bound: `the number of inputs, to which ${input} came`,
              }),
            );
          }
          resolved.set(input, commitTs);
          // Only the input that held the minimum, or the last to be heard, can move it.
          if (resolved.size < inputs || (previous !== undefined && previous > minimum)) return;
          const lowest = minimumOf(resolved.values());
          if (lowest === minimum) return;
          minimum = lowest;
          subscriber.next(minimum);
        },
      });
    });
  });
}

function minimumOf(values: Iterable<bigint>): bigint {
  let lowest: bigint | null = null;
  for (const value of values) if (lowest === null || value < lowest) lowest = value;
  return lowest ?? -1n;
}
