/** What is wrong with an event: the reason that MR_EVENT_INVALID tells. No value of the event stands in it. */
export class Fault extends Error {}

/** What PostgreSQL keeps of a name; a longer one would lose its end there, and two could become one. */
export const NAME_BYTES_MAX = 63;

/** The same few names come with every event: those that were found good are not looked at again. */
export function checkName(name: unknown, what: string): asserts name is string {
  if (typeof name === 'string' && goodNames.has(name)) return;
  if (!isName(name)) throw new Fault(`${what} is no name of 1 to ${NAME_BYTES_MAX} bytes`);
  if (goodNames.size < GOOD_NAMES_MAX) goodNames.add(name);
}

/** Of a table, type or column. */
export function isName(name: unknown): name is string {
  return typeof name === 'string' && name !== '' && isPlainText(name) && Buffer.byteLength(name) <= NAME_BYTES_MAX;
}

const goodNames = new Set<string>();
const GOOD_NAMES_MAX = 1000;

/** Without a NUL or half a surrogate pair, which no target keeps in a name. */
function isPlainText(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0');
}

/** What a value is, without the value. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'nothing';
  return Array.isArray(value) ? 'a list' : `${typeof value === 'object' ? 'an' : 'a'} ${typeof value}`;
}
