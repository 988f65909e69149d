/** The longest decimal u64. */
export const U64_ROOM = 20;

/** Writes a whole number 0 … 2^53 − 1 in decimal and returns where it ends. */
export function writeDecimal(value: number, target: Uint8Array, at: number): number {
  let end = at;
  for (let left = value; left >= 10; left = Math.floor(left / 10)) end++;
  let left = value;
  for (let i = end; i >= at; i--) {
    const rest = Math.floor(left / 10);
    target[i] = 0x30 + (left - rest * 10);
    left = rest;
  }
  return end + 1;
}

/** Writes a u64 in decimal and returns where it ends. */
export function writeU64(value: bigint, target: Uint8Array, at: number): number {
  const number = Number(value);
  if (number <= Number.MAX_SAFE_INTEGER) return writeDecimal(number, target, at);
  const text = value.toString();
  for (let i = 0; i < text.length; i++) target[at + i] = text.charCodeAt(i);
  return at + text.length;
}
