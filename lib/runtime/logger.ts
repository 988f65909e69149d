import { type DestinationStream, destination, type Level, pino } from 'pino';
import { isMillraceError } from '../errors.ts';
import type { Logger } from '../flow/index.ts';
import { scrubText } from '../redact.ts';

export { scrubText };

export interface LoggerOptions {
  /** Default `info`. With `debug` and `trace` errors of Millrace's own come with their stacks: their code says more, and others have theirs always. */
  readonly level?: Level | 'silent';
  /** Where the lines go. Default: standard error. */
  readonly stream?: DestinationStream;
}

/**
 * A logger that writes JSON lines (pino's) and keeps secrets out of them: a password, key or token is replaced whatever its depth, and so are the
 * credentials of every URL, in fields, messages and errors.
 */
export function createLogger({ level = 'info', stream = destination({ fd: 2, sync: true }) }: LoggerOptions = {}): Logger {
  const hasOwnStacks = level === 'debug' || level === 'trace';
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
          method.call(this, scrub(fields, { hasOwnStacks, told: text }, 0), text);
        },
      },
    },
    stream,
  );
}

const SECRET_FIELD = /^(?:.*password|passwd|pwd|.*secret.*|.*token|credentials?|authorization|access[-_]?key(?:[-_]?id)?)$/i;
const DEPTH_MAX = 6;

interface Line {
  readonly hasOwnStacks: boolean;
  /** What the line's message says: an error does not say it again. */
  readonly told: string;
}

function scrub(value: unknown, line: Line, depth: number): unknown {
  if (typeof value === 'string') return scrubText(value);
  if (typeof value === 'bigint') return value.toString();
  if (value === null || typeof value !== 'object') return value;
  if (depth === DEPTH_MAX) return '…';
  if (value instanceof Error) return scrubError(value, line, depth);
  if (Array.isArray(value)) return value.map((item) => scrub(item, { ...line, told: '' }, depth + 1));
  const entries = Object.entries(value).map(([key, member]) => [key, SECRET_FIELD.test(key) ? '***' : scrub(member, line, depth + 1)]);
  return Object.fromEntries(entries);
}

/** An error with its code, details, stack and causes; no other fields: a driver's may hold what it was configured with. Its message stands in it once. */
function scrubError(error: Error, line: Line, depth: number): unknown {
  const { code, details, cause } = error as { code?: unknown; details?: unknown; cause?: unknown };
  const message = scrubText(error.message);
  const inner = { ...line, told: '' };
  return {
    type: error.name,
    ...(line.told.includes(message) ? {} : { message }),
    ...(code === undefined ? {} : { code: scrub(code, inner, depth + 1) }),
    ...(details === undefined ? {} : { details: scrub(details, inner, depth + 1) }),
    ...(isMillraceError(error) && !line.hasOwnStacks ? {} : { stack: scrubText(framesOf(error)) }),
    ...(cause === undefined ? {} : { cause: scrub(cause, inner, depth + 1) }),
  };
}

/** The stack without the message that it begins with. */
function framesOf({ message, stack = '' }: Error): string {
  const at = stack.indexOf(message);
  return at < 0 ? stack : stack.slice(at + message.length).trimStart();
}
