import { reasonOf } from '../../../lib/errors.ts';
import type { EventGroup, EventHandler } from '../event.ts';
import { buildRows } from '../rows.ts';
import { abortable, targetFailed } from './abortable.ts';
import { linesOf, printedLine } from './event-line.ts';

export interface StdoutEventsOptions {
  /** Default: standard output. It is not ended. */
  readonly stream?: NodeJS.WritableStream;
}

/** Writes events as JSON lines, one per row, as `millrace events` prints them; a group is delivered when the stream has taken its lines. A repeated call writes them again. */
export function stdoutEvents({ stream = process.stdout }: StdoutEventsOptions = {}): EventHandler {
  const name = 'stdout';
  // A stream without a listener ends the process when its reader goes away; each write hears of it by itself.
  const onError = () => {};
  return {
    name,
    async open() {
      stream.on('error', onError);
    },
    async deliver(group, { signal }) {
      const built = buildRows(group);
      const lines = linesOf(built).map((line, index) => printedLine(line, built.rows[index]!.event.seq));
      if (lines.length > 0) await abortable(signal, () => write(stream, `${lines.join('\n')}\n`, group));
    },
    async close() {
      stream.off('error', onError);
    },
  };

  function write(to: NodeJS.WritableStream, text: string, group: EventGroup): Promise<void> {
    return new Promise((resolve, reject) => {
      to.write(text, (error?: Error | null) =>
        error === null || error === undefined ? resolve() : reject(targetFailed(name, group, reasonOf(error), error)),
      );
    });
  }
}
