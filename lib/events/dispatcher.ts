/**
 * The identity of one table (or table span) of one pipeline, stable over restarts: 128 bits, written as 32 lower-case hex digits
 * (high half first), so that it can be a map key.
 */
export type DispatcherId = string & { readonly __brand: 'DispatcherId' };

const U64 = (1n << 64n) - 1n;

/** The identity with the given halves, both taken modulo 2^64. */
export function dispatcherId(low: bigint, high: bigint): DispatcherId {
  return (hex64(high) + hex64(low)) as DispatcherId;
}

/** The identity of table `tableId` in the pipeline called `pipeline`. */
export function dispatcherOfTable(pipeline: string, tableId: number): DispatcherId {
  return dispatcherId(BigInt(tableId), fnv1a64(pipeline));
}

/** The halves of an identity. */
export function dispatcherHalves(id: DispatcherId): { low: bigint; high: bigint } {
  return { high: BigInt(`0x${id.slice(0, 16)}`), low: BigInt(`0x${id.slice(16)}`) };
}

/** `(low64 XOR (high64 << 1)) mod shards` in u64 arithmetic; below two shards it is 0 (spec storage-sink §1). */
export function shardOf(id: DispatcherId, shards: number): number {
  if (shards <= 1) return 0;
  const { low, high } = dispatcherHalves(id);
  return Number((low ^ ((high << 1n) & U64)) % BigInt(shards));
}

function hex64(value: bigint): string {
  return (value & U64).toString(16).padStart(16, '0');
}

function fnv1a64(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & U64;
  return hash;
}
