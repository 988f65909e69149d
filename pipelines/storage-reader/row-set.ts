/** A row's values in the order of the table's columns. Undefined: not sent. */
export type RowValues = readonly (string | null | undefined)[];

/** The rows of a table under reconstruction. */
export interface RowSet {
  readonly size: number;
  rows(): Iterable<RowValues>;
  get(key: readonly (string | null)[]): RowValues | undefined;
  add(row: RowValues): void;
  /** `before` is a whole old image or the key alone. */
  remove(before: RowValues): void;
  /** `before` is null, or has no values, when the source sent no old image: the key is then that of `after`. */
  update(before: RowValues | null, after: RowValues): void;
}

/** `after`, with `before`'s value wherever it has none. */
export function merged(before: RowValues | undefined, after: RowValues): RowValues {
  return before === undefined || !after.includes(undefined)
    ? after
    : after.map((value, index) => (value === undefined ? before[index] : value));
}

/** A text that two lists of values share only when they are equal. */
export function textOf(values: RowValues): string {
  return JSON.stringify(values.map((value) => (value === undefined ? 0 : value)));
}

/** A record's own value; names like `__proto__` are names as any other. */
export function ownValue(record: Readonly<Record<string, string | null>>, name: string): string | null | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
