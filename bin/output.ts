import { once } from 'node:events';
import { reasonOf } from '../lib/errors.ts';
import { createLogger, type Logger, scrubText } from '../lib/index.ts';
import type { ExitCode } from './exit-code.ts';

/** The process's own, or a test's. */
export type Streams = Pick<Output, 'stdout' | 'stderr'>;

/**
 * Where a command speaks: results go to standard output; logs, errors and progress to standard error, as text on a terminal and as JSON lines elsewhere.
 * A reader that closes standard output early (`| head`) ends the process quietly.
 */
export class Output {
  readonly isTerminal: boolean;
  readonly stdout: NodeJS.WritableStream & { readonly writableLength: number };
  readonly stderr: NodeJS.WritableStream;
  readonly #reported = new WeakSet<object>();
  #logger: Logger | null = null;
  /** Takes the live bar off the terminal while a line is written above it. */
  clearBar: () => void = () => {};

  constructor({ stdout, stderr }: Streams) {
    this.isTerminal = 'isTTY' in stderr && stderr.isTTY === true;
    this.stdout = stdout;
    this.stderr = stderr;
    stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(0);
      throw error;
    });
    // Nobody reads the progress any more: that is no reason to stop what it tells of.
    stderr.on('error', () => {});
  }

  get logger(): Logger {
    this.#logger ??= this.#remembering(
      this.isTerminal ? this.#terminalLogger() : createLogger({ stream: { write: (line) => void this.stderr.write(line) } }),
    );
    return this.#logger;
  }

  /** Writes a line of the result; resolves when there is room for the next. */
  async line(text: string): Promise<void> {
    if (!this.stdout.write(`${text}\n`)) await once(this.stdout, 'drain');
  }

  /** Writes a line for people above the live bar; elsewhere it is a line of the log. */
  say(text: string, details: object = {}): void {
    this.clearBar();
    if (this.isTerminal) this.stderr.write(`${scrubText(text)}\n`);
    else this.logger.info(details, text);
  }

  /** Reports an error, unless the log has it already. */
  failed(error: unknown, isUsage: boolean): ExitCode {
    const isLogged = !this.isTerminal && typeof error === 'object' && error !== null && this.#reported.has(error);
    if (isUsage || this.isTerminal) {
      this.clearBar();
      if (!isLogged) this.stderr.write(`millrace: ${scrubText(reasonOf(error))}\n`);
    } else if (!isLogged) {
      this.logger.error({ err: error }, reasonOf(error));
    }
    return isUsage ? 2 : 1;
  }

  /** Resolves when everything written to standard output has left the process. */
  async end(): Promise<void> {
    if (this.stdout.writableLength > 0) await new Promise<void>((resolve) => this.stdout.write('', () => resolve()));
  }

  #remembering(logger: Logger): Logger {
    const remember = (details: object) => {
      const { err } = details as { err?: unknown };
      if (typeof err === 'object' && err !== null) this.#reported.add(err);
    };
    return {
      debug: (details, message) => logger.debug(details, message),
      info: (details, message) => logger.info(details, message),
      warn: (details, message) => logger.warn(details, message),
      error: (details, message) => {
        remember(details);
        logger.error(details, message);
      },
    };
  }

  /** On a terminal: warnings and errors as text. An error that ends the command is printed at its end, once. */
  #terminalLogger(): Logger {
    const silent = () => {};
    const print = (level: string) => (details: object, message: string) => {
      if ('err' in details) return;
      this.clearBar();
      const fields = Object.entries(details).map(([key, value]) => ` ${key}=${typeof value === 'object' ? '…' : String(value)}`);
      this.stderr.write(`${level}: ${scrubText(message + fields.join(''))}\n`);
    };
    return { debug: silent, info: silent, warn: print('warning'), error: print('error') };
  }
}
