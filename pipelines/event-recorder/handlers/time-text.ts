/** `2026-11-22T05:45:49.123456789Z`: nanoseconds since 1970 UTC (64 bits: the years 1677 to 2262), all nine digits. Ascends with the time. */
export function isoOfNs(ns: bigint): string {
  const ms = msOfNs(ns);
  const rest = ns - ms * 1_000_000n;
  return `${isoOfMs(ms).slice(0, -1)}${String(rest).padStart(6, '0')}Z`;
}

/** As PostgreSQL keeps a time: in microseconds, cut off. */
export function isoOfNsInUs(ns: bigint): string {
  return `${isoOfNs(ns).slice(0, -4)}Z`;
}

/** `2026-11-22T05:45:49.123Z`; for the years 1 to 9999. */
export function isoOfMs(ms: bigint | number): string {
  return new Date(Number(ms)).toISOString();
}

/** What `isoOfNs` gave, the other way; null for any other text. */
export function nsOfIso(text: string): bigint | null {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z$/.exec(text);
  const ms = match === null ? Number.NaN : Date.parse(`${match[1]}Z`);
  return Number.isNaN(ms) ? null : BigInt(ms) * 1_000_000n + BigInt(match![2]!);
}

/** The millisecond that a time stands in, before 1970 too. */
export function msOfNs(ns: bigint): bigint {
  const ms = ns / 1_000_000n;
  return ns % 1_000_000n < 0n ? ms - 1n : ms;
}
