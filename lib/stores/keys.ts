import { MillraceError } from '../errors.ts';

/** Where the fs store keeps files that are being written; no key begins with it, in any store. */
export const RESERVED_FOLDER = '.millrace-tmp';

/** Refuses a key that could leave its store or means nothing in one of them. Throws MR_STORE_INVALID_KEY. */
export function checkKey(key: string): void {
  if (PLAIN.test(key)) return;
  const reason = faultOf(key.split('/'), key);
  if (reason !== null) throw new MillraceError('MR_STORE_INVALID_KEY', { key, reason });
}

/** As `checkKey`, for the prefix of a list: its last component may be empty or incomplete. */
export function checkPrefix(prefix: string): void {
  const reason = prefix.includes('/') ? faultOf(prefix.split('/').slice(0, -1), prefix) : null;
  if (reason !== null) throw new MillraceError('MR_STORE_INVALID_KEY', { key: prefix, reason });
}

/** As `checkPrefix`, for what must be a whole folder: empty or ending in a slash. */
export function checkFolder(prefix: string): void {
  checkPrefix(prefix);
  if (prefix !== '' && !prefix.endsWith('/'))
    throw new MillraceError('MR_STORE_INVALID_KEY', { key: prefix, reason: 'a folder ends in a slash' });
}

/** Components of ASCII that do not lead with a dot: nearly every key, and nothing to find fault with. */
const PLAIN = /^[\w%=-][\w.%=-]*(?:\/[\w%=-][\w.%=-]*)*$/;

function faultOf(components: string[], key: string): string | null {
  if (key.startsWith('/')) return 'it begins with a slash';
  if (components.includes('')) return 'a component is empty';
  if (components.includes('.') || components.includes('..')) return 'a component is . or ..';
  if (key.includes('\0') || !key.isWellFormed()) return 'it holds a NUL or half a surrogate pair';
  return components[0] === RESERVED_FOLDER ? `${RESERVED_FOLDER} is reserved` : null;
}

/** Orders strings by their UTF-8 bytes, which JavaScript's own order (by UTF-16 code units) does not beyond U+D7FF. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/** Surrogates stand for code points above U+FFFF: they rank behind every other code unit. */
function rank(codeUnit: number): number {
  return codeUnit >= 0xd800 && codeUnit < 0xe000 ? codeUnit + 0x10000 : codeUnit;
}
