import { type DestinationStream, destination, type Level, pino } from 'pino';
import type { Logger } from '../flow/index.ts';
import { scrubText } from '../redact.ts';

export { scrubText };

export interface LoggerOptions {
  /** Default `info`. */
  readonly level?: Level | 'silent';
  /** Where the lines go. Default: standard error. */
  readonly stream?: DestinationStream;
}

/**
 * A logger that writes JSON lines (pino's) and keeps secrets out of them: a password, key or token is replaced whatever its depth, and so are the
 * credentials of every URL, in fields, messages and errors.
 */
export function createLogger({ level = 'info', stream = destination({ fd: 2, sync: true }) }: LoggerOptions = {}): Logger {
  return pino(
    {
      level,
      base: null,
      // pino's own would take the scrubbed error for one to serialize again, and drop its causes.
      serializers: { err: (err: unknown) => err },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: (fields) => scrub(fields, 0) as Record<string, unknown> },
      hooks: {
        logMethod(args, method) {
          method.apply(this, args.map((arg: unknown) => (typeof arg === 'string' ? scrubText(arg) : arg)) as typeof args);
        },
      },
    },
    stream,
  );
}

const SECRET_FIELD = /^(?:.*password|passwd|pwd|.*secret.*|.*token|credentials?|authorization|access[-_]?key(?:[-_]?id)?)$/i;
const DEPTH_MAX = 6;

function scrub(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return scrubText(value);
  if (typeof value === 'bigint') return value.toString();
  if (value === null || typeof value !== 'object') return value;
  if (depth === DEPTH_MAX) return '…';
  if (value instanceof Error) return scrubError(value, depth);
  if (Array.isArray(value)) return value.map((item) => scrub(item, depth + 1));
  const entries = Object.entries(value).map(([key, member]) => [key, SECRET_FIELD.test(key) ? '***' : scrub(member, depth + 1)]);
  return Object.fromEntries(entries);
}

/** An error with its code, details, stack and causes; no other fields: a driver's may hold what it was configured with. */
function scrubError(error: Error, depth: number): unknown {
  const { code, details, cause } = error as { code?: unknown; details?: unknown; cause?: unknown };
  return {
    type: error.name,
    message: scrubText(error.message),
    ...(code === undefined ? {} : { code: scrub(code, depth + 1) }),
    ...(details === undefined ? {} : { details: scrub(details, depth + 1) }),
    stack: scrubText(error.stack ?? ''),
    ...(cause === undefined ? {} : { cause: scrub(cause, depth + 1) }),
  };
}
