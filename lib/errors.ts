/**
 * Every error Millrace raises, in one table: code, message, remedy. `docs/errors.md` is made from it.
 *
 * A message may name details as `{detail}`; whoever raises the error passes them. Details never hold a secret: connection URLs go through
 * `redactUrl` before they come here.
 */
export const ERRORS = {
  MR_INVALID_OPTION: {
    message: 'option {option} is {value}; it must be {bound}',
    remedy: 'Correct the option.',
  },
  MR_OUT_OF_ORDER: {
    message: 'stage {stage} emitted position {position} after {previous} for {dispatcher}',
    remedy: 'A stage must keep the order of the events it receives; nothing inside a transaction may be reordered.',
  },
  MR_STAGE_FAILED: {
    message: 'stage {stage} failed at position {position}, table {table}: {reason}',
    remedy: 'Correct the stage; the run resumes from its checkpoint and nothing is lost.',
  },
  MR_UNKNOWN_COLUMN: {
    message: 'table {table} has no column {column}; it has {columns}',
    remedy: 'Correct the column name; names are exact, case included.',
  },
  MR_COUNTER_OVERFLOW: {
    message: '{counter} would exceed {bound}',
    remedy: 'Report this: a bound of the event model was met.',
  },
} as const satisfies Record<string, { message: string; remedy: string }>;

export type ErrorCode = keyof typeof ERRORS;
export type ErrorDetails = Readonly<Record<string, string | number | bigint | boolean | null | undefined>>;

/** An error of the table above. `code` is stable; `message` ends with the remedy; `details` are the values it names. */
export class MillraceError extends Error {
  override readonly name = 'MillraceError';
  readonly code: ErrorCode;
  readonly remedy: string;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, details: ErrorDetails = {}, cause?: unknown) {
    const { message, remedy } = ERRORS[code];
    super(`${code}: ${fill(message, details)}. ${fill(remedy, details)}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.remedy = fill(remedy, details);
    this.details = details;
  }
}

/** Whether `error` is a Millrace error, of the given code if one is given. */
export function isMillraceError(error: unknown, code?: ErrorCode): error is MillraceError {
  return error instanceof MillraceError && (code === undefined || error.code === code);
}

/** What went wrong, for a message: an error's own message, anything else as text. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function fill(template: string, details: ErrorDetails): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => String(details[name]));
}
