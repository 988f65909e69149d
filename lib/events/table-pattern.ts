import { MillraceError } from '../errors.ts';
import type { Table } from './table.ts';

/**
 * Tables chosen by name: `public.*`, `!public.audit_*`, `"sch.ema"."ta.ble"`.
 *
 * A pattern is `schema.table`, both case-sensitive; `*` stands for any characters, none included. In double quotes everything is literal (a quote is
 * written twice), so names with dots, stars, quotes or outer blanks can be given. `!` in front excludes. The last pattern that matches a table decides; a
 * table that none matches is not chosen.
 *
 * @param option what errors call the patterns. Default `tables`.
 * @returns whether a table, by its source's names, is chosen.
 * @throws MR_INVALID_OPTION for a pattern of another form, and when no pattern includes anything.
 */
export function tableMatcher(patterns: readonly string[], option = 'tables'): (schema: string, name: string) => boolean {
  const parsed = patterns.map((pattern) => parsePattern(pattern, option));
  if (!parsed.some(({ includes }) => includes)) {
    throw new MillraceError('MR_INVALID_OPTION', {
      option,
      value: JSON.stringify(patterns),
      bound: 'at least one pattern that includes tables: schema.table, such as public.orders or public.*',
    });
  }
  return (schema, name) => {
    for (let i = parsed.length - 1; i >= 0; i--) {
      const pattern = parsed[i]!;
      if (pattern.schema.test(schema) && pattern.name.test(name)) return pattern.includes;
    }
    return false;
  };
}

/** Patterns written in one text, separated by commas (those inside quotes belong to the name): `public.*,!public.tmp_*`. */
export function splitTablePatterns(text: string): string[] {
  return [...text.matchAll(LISTED)].map(([pattern]) => pattern.trim()).filter((pattern) => pattern !== '');
}

/**
 * The patterns that include tables and fit none of these, as they were written. An exclusion without a table is a precaution; an inclusion without one is a slip,
 * or ahead of its table.
 */
export function idlePatterns(
  patterns: readonly string[],
  tables: readonly { readonly schema: string; readonly name: string }[],
): readonly string[] {
  return patterns.filter((pattern) => {
    if (pattern.trim().startsWith('!')) return false;
    const fits = tableMatcher([pattern]);
    return !tables.some(({ schema, name }) => fits(schema, name));
  });
}

interface TablePattern {
  readonly includes: boolean;
  readonly schema: RegExp;
  readonly name: RegExp;
}

const PART = '((?:"(?:[^"]|"")*"|[^".])+)';
const PATTERN = new RegExp(`^(!?)\\s*${PART}\\.${PART}$`, 's');
const LISTED = /(?:"(?:[^"]|"")*"|[^,"]|")+/g;
const RUN = /"((?:[^"]|"")*)"|(\*+)|[^"*]+/g;

function parsePattern(pattern: string, option: string): TablePattern {
  const match = PATTERN.exec(pattern.trim());
  if (match === null) {
    throw new MillraceError('MR_INVALID_OPTION', {
      option,
      value: JSON.stringify(pattern),
      bound: 'schema.table, with * as wildcard, ! in front to exclude, and double quotes around names that hold dots, stars or quotes',
    });
  }
  return { includes: match[1] === '', schema: wildcard(match[2]!), name: wildcard(match[3]!) };
}

function wildcard(part: string): RegExp {
  const source = part.replace(RUN, (run, quoted?: string, stars?: string) => {
    if (stars !== undefined) return '.*';
    return (quoted === undefined ? run : quoted.replaceAll('""', '"')).replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  });
  return new RegExp(`^${source}$`, 's');
}

/** Whether the patterns choose a table version (by its source names), decided once per version. */
export function tableSelector(patterns: readonly string[]): (table: Table) => boolean {
  const matches = tableMatcher(patterns);
  const decided = new WeakMap<Table, boolean>();
  return (table) => {
    let isSelected = decided.get(table);
    if (isSelected === undefined) {
      isSelected = matches(table.sourceSchema, table.sourceName);
      decided.set(table, isSelected);
    }
    return isSelected;
  };
}
