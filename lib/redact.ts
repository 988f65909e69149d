/**
 * A URL as a log or an error may show it: without password, tokens and keys. What looks like a secret is masked rather than shown, in a text that
 * is no valid URL too: there everything from the first `:` after `//` to the last `@` counts as a password.
 */
export function redactUrl(text: string): string {
  return redactParameters(redactUserInfo(text));
}

/** Credentials in URLs, and `password=…` in connection strings, replaced by `***`. */
export function scrubText(text: string): string {
  return text.replace(URL_IN_TEXT, redactUrl).replace(ASSIGNED_SECRET, '$1***');
}

const URL_IN_TEXT = /[a-z][a-z0-9+.-]*:\/\/\S+/gi;
const ASSIGNED_SECRET = /\b((?:password|passwd|pwd|secret|token|(?:secret[-_])?access[-_]key)\s*[=]\s*)(?:'[^']*'|[^\s&'"]+)/gi;
const MASK = '***';

/** Schemes without a user; an `@` there belongs to a path. */
const WITHOUT_USER = /^(file|memory|noop):/i;
/** Schemes whose user is a name; elsewhere a user can be a key itself. */
const USER_IS_A_NAME = /^(postgres|postgresql|nats|mysql):/i;

function redactUserInfo(text: string): string {
  const authority = text.indexOf('//') + 2;
  if (authority < 2 || WITHOUT_USER.test(text)) return text;
  const isName = USER_IS_A_NAME.test(text);
  const url = parse(text);
  const isUserless = url !== null && url.username === '' && url.password === '';
  // A password with an unescaped `/` or `?` can make a valid URL without a user, of a database too; only other schemes have `@` in options.
  const query = text.indexOf('?', authority);
  const end = isUserless && !isName && query >= 0 ? query : text.length;
  const at = text.lastIndexOf('@', end - 1);
  if (at < authority) return text;
  const colon = text.slice(0, at).indexOf(':', authority);
  if (isUserless && colon < 0) return text;
  const user = isName ? text.slice(authority, colon < 0 ? at : colon) : MASK;
  return text.slice(0, authority) + user + (isName && colon >= 0 ? `:${MASK}` : '') + text.slice(at);
}

function parse(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

/** What stands before a value, in a query or in a list of libpq keywords; in a query it may be percent-encoded. */
const PARAMETER_NAME = /[\w.%+-]+\s*=\s*/g;
const SECRET_NAME = /pass|secret|token|credential|signature|access-?_?key/i;
/** All that can belong to a value. */
const QUERY_VALUE = /[^&]*/y;
const KEYWORD_VALUE = /'(?:[^'\\]|\\.)*'|[^\s&#;]*/y;
const NESTED_URL = /([?&][\w.-]+=)([a-z][a-z0-9+.-]*(?::|%3a)(?:\/\/|%2f%2f)[^&#]*)/gi;

function redactParameters(text: string): string {
  return maskSecrets(text).replace(NESTED_URL, (whole, name: string, value: string) => {
    const plain = decode(value);
    const redacted = redactUserInfo(plain);
    return redacted === plain ? whole : name + redacted;
  });
}

function maskSecrets(text: string): string {
  const valueAt = /^[a-z][a-z\d+.-]*:\/\//i.test(text) ? QUERY_VALUE : KEYWORD_VALUE;
  let masked = '';
  let from = 0;
  for (const { index, 0: name } of text.matchAll(PARAMETER_NAME)) {
    const at = index + name.length;
    if (at < from || !SECRET_NAME.test(decode(name))) continue;
    masked += text.slice(from, at) + MASK;
    valueAt.lastIndex = at;
    from = at + valueAt.exec(text)![0].length;
  }
  return masked + text.slice(from);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
