import { comparePositions, type Position } from '../../events/index.ts';

/**
 * A statement that changed a table. PostgreSQL describes the table again before its next row only, perhaps much later and in another transaction: until then
 * the text waits in the state, and stays there until the checkpoint has passed the event that carries it, so that every replay has it too. Pure.
 */
export interface DdlStatement extends Position {
  /** Where its message stands in the WAL: the same on every replay. */
  readonly lsn: bigint;
  readonly query: string;
  /** commitTs of the event that carries it, or of the change that showed that none is due; null while it waits. */
  readonly toldAt: bigint | null;
}

/**
 * The statements with one more, in order. One that comes again (a replay) stays as it is, or away, as it was when it came first; of too many that wait the oldest
 * goes.
 */
export function withStatement(statements: readonly DdlStatement[], added: Omit<DdlStatement, 'toldAt'>): readonly DdlStatement[] {
  // A table's statements come in their order, and each is stored before the stream goes on.
  if (statements.some((one) => compareInStream(one, added) >= 0)) return statements;
  const waiting = statements.filter(({ toldAt }) => toldAt === null);
  const left = waiting.length < STATEMENTS_MAX ? statements : statements.filter((one) => one !== waiting[0]);
  return [...left, { ...added, toldAt: null }];
}

/**
 * What the change at `at` brings to light: every statement that waits and stands before it.
 *
 * @returns their text, null when there is none; what was sent as one string is in it once. And the statements, those told of.
 */
export function tellStatements(
  statements: readonly DdlStatement[],
  at: Position,
): { readonly text: string | null; readonly statements: readonly DdlStatement[] } {
  if (statements.length === 0) return { text: null, statements };
  const isDue = (statement: DdlStatement) => statement.toldAt === null && comparePositions(statement, at) <= 0;
  const texts = statements
    .filter(isDue)
    .map(({ query }) => query.trim())
    .filter((query, index, all) => query !== '' && query !== all[index - 1]);
  return {
    text: texts.length === 0 ? null : texts.map((text, index) => (index === texts.length - 1 ? text : `${ended(text)}\n`)).join(''),
    statements: statements.map((statement) => (isDue(statement) ? { ...statement, toldAt: at.commitTs } : statement)),
  };
}

/** The statements that a replay from `checkpointTs` can ask for. */
export function pruneStatements(statements: readonly DdlStatement[], checkpointTs: bigint): readonly DdlStatement[] {
  const isDone = ({ toldAt }: DdlStatement) => toldAt !== null && toldAt <= checkpointTs;
  return statements.some(isDone) ? statements.filter((statement) => !isDone(statement)) : statements;
}

/** The statements as a run that starts at `checkpointTs` has them: what was told of behind it is told of again. */
export function restoreStatements(statements: readonly DdlStatement[], checkpointTs: bigint): readonly DdlStatement[] {
  return pruneStatements(statements, checkpointTs).map((statement) => ({ ...statement, toldAt: null }));
}

function compareInStream(a: Omit<DdlStatement, 'toldAt'>, b: Omit<DdlStatement, 'toldAt'>): number {
  return comparePositions(a, b) || (a.lsn < b.lsn ? -1 : a.lsn > b.lsn ? 1 : 0);
}

/** With a semicolon, which does not stand in a comment. */
function ended(text: string): string {
  const isComment = text.slice(text.lastIndexOf('\n') + 1).includes('--');
  return isComment ? `${text}\n;` : text.endsWith(';') ? text : `${text};`;
}

/** Without a row in between this many changes of one table are told. */
const STATEMENTS_MAX = 16;
