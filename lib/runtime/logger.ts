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
      formatters: { level: (label) => ({ level: label }) },
      hooks: {
        logMethod(args, method) {
          // As `Logger` calls it.
          const [fields, message] = args as unknown as [fields: object, message: string];
          const text = scrubText(message);
          method.call(this, scrub(fields, 0, text), text);
        },
      },
    },
    stream,
  );
}

const SECRET_FIELD = /^(?:.*password|passwd|pwd|.*secret.*|.*token|credentials?|authorization|access[-_]?key(?:[-_]?id)?)$/i;
const DEPTH_MAX = 6;

/** @param told what the line's message says: an error does not say it again. */
function scrub(value: unknown, depth: number, told = ''): unknown {
  if (typeof value === 'string') return scrubText(value);
  if (typeof value === 'bigint') return value.toString();
  if (value === null || typeof value !== 'object') return value;
  if (depth === DEPTH_MAX) return '…';
  if (value instanceof Error) return scrubError(value, depth, told);
  if (Array.isArray(value)) return value.map((item) => scrub(item, depth + 1));
  const entries = Object.entries(value).map(([key, member]) => [key, SECRET_FIELD.test(key) ? '***' : scrub(member, depth + 1, told)]);
  return Object.fromEntries(entries);
}

/** An error with its code, details, stack and causes; no other fields: a driver's may hold what it was configured with. Its message stands in it once. */
function scrubError(error: Error, depth: number, told: string): unknown {
  const { code, details, cause } = error as { code?: unknown; details?: unknown; cause?: unknown };
  const message = scrubText(error.message);
  return {
    type: error.name,
    ...(told.includes(message) ? {} : { message }),
    ...(code === undefined ? {} : { code: scrub(code, depth + 1) }),
    ...(details === undefined ? {} : { details: scrub(details, depth + 1) }),
    stack: scrubText(framesOf(error)),
    ...(cause === undefined ? {} : { cause: scrub(cause, depth + 1) }),
  };
}

/** The stack without the message that it begins with. */
function framesOf({ message, stack = '' }: Error): string {
  const at = stack.indexOf(message);
  return at < 0 ? stack : stack.slice(at + message.length).trimStart();
}
