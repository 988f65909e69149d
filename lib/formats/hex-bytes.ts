/** Whether `from … to − 1` is `bytea` text: `\x` and pairs of hex digits. */
export function isHexBytes(source: Uint8Array, from: number, to: number): boolean {
  if (to - from < 2 || (to - from) % 2 === 1 || source[from] !== 0x5c || source[from + 1] !== 0x78) return false;
  for (let i = from + 2; i < to; i++) if (HEX[source[i]!] === NO_HEX) return false;
  return true;
}

/** The byte whose two hex digits stand at `at`. */
export function hexByte(source: Uint8Array, at: number): number {
  return (HEX[source[at]!]! << 4) | HEX[source[at + 1]!]!;
}

const NO_HEX = 0xff;
const HEX = new Uint8Array(256).fill(NO_HEX);
for (let i = 0; i < 16; i++) {
  HEX[i.toString(16).charCodeAt(0)] = i;
  HEX[i.toString(16).toUpperCase().charCodeAt(0)] = i;
}
