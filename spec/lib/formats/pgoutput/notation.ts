/**
 * Bytes in a notation that reads like the protocol's tables: hexadecimal digits are bytes, `'I'` is ASCII as it stands, `"name"` a string with its
 * NUL. Blanks count for nothing.
 */
export function wire(text: string): Buffer {
  const parts = text.match(/'[^']*'|"[^"]*"|[0-9a-f]+|\S/gi) ?? [];
  return Buffer.concat(
    parts.map((part) => {
      if (part.startsWith("'")) return Buffer.from(part.slice(1, -1));
      if (part.startsWith('"')) return Buffer.from(`${part.slice(1, -1)}\0`);
      if (!/^([0-9a-f]{2})+$/i.test(part)) throw new Error(`${part} is no bytes`);
      return Buffer.from(part, 'hex');
    }),
  );
}
