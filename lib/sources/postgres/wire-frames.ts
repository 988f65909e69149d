import { MillraceError } from '../../errors.ts';

/** Type bytes of the frames of PostgreSQL's protocol 3 that a session here sends or gets. */
export const Frame = {
  query: 0x51,
  terminate: 0x58,
  rowDescription: 0x54,
  dataRow: 0x44,
  readyForQuery: 0x5a,
  error: 0x45,
  notice: 0x4e,
  notification: 0x41,
  parameterStatus: 0x53,
  copyBothResponse: 0x57,
  copyData: 0x64,
  copyDone: 0x63,
} as const;

/** A warning or an error, as the server wrote it. */
export interface ServerNotice {
  readonly severity: string;
  readonly sqlState: string;
  readonly message: string;
  /** Empty when there is none. */
  readonly detail: string;
}

/** Reads the fields of an ErrorResponse or a NoticeResponse. */
export function readFields(bytes: Buffer, at: number, end: number): ServerNotice {
  const fields = new Map<string, string>();
  let position = at;
  while (position < end && bytes[position] !== 0) {
    const stop = bytes.indexOf(0, position + 1);
    if (stop < 0 || stop >= end) break;
    fields.set(String.fromCharCode(bytes[position]!), bytes.toString('utf8', position + 1, stop));
    position = stop + 1;
  }
  return {
    severity: fields.get('V') ?? fields.get('S') ?? '',
    sqlState: fields.get('C') ?? '',
    message: fields.get('M') ?? '',
    detail: fields.get('D') ?? '',
  };
}

/** The typed error of an ErrorResponse; `sqlStateOf` reads its state. */
export function serverError({ sqlState, severity, message, detail }: ServerNotice): MillraceError {
  return new MillraceError('MR_SERVER_ERROR', { sqlState, severity, reason: detail === '' ? message : `${message} (${detail})` });
}

/** The SQLSTATE of an error that the server sent; null for any other. */
export function sqlStateOf(error: unknown): string | null {
  const state = error instanceof MillraceError && error.code === 'MR_SERVER_ERROR' ? error.details.sqlState : null;
  return typeof state === 'string' ? state : null;
}
