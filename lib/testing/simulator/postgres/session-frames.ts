import { Frame } from '../../../sources/postgres/wire-frames.ts';
import { FrameWriter } from './frame-writer.ts';

/** A row of a result, as text. */
export type ResultRow = Readonly<Record<string, string | null>>;

/** Frames of a session that answers simple queries. */
export const sessionFrames = {
  /** The answer to a query: its rows, and that the session is ready again. */
  result(rows: readonly ResultRow[]): Buffer {
    if (rows.length > 0) {
      const names = Object.keys(rows[0]!);
      writer.begin(Frame.rowDescription).u16(names.length);
      for (const name of names) writer.text(name).u32(0).u16(0).u32(25).u16(0xffff).u32(0xffff_ffff).u16(0);
      writer.end();
      for (const row of rows) {
        writer.begin(Frame.dataRow).u16(names.length);
        for (const name of names) writer.value(row[name] ?? null);
        writer.end();
      }
    }
    return ready();
  },

  /** Rows of `COPY … TO STDOUT`, each with its newline, and that the session is ready again. */
  copyOut(lines: readonly string[], columnCount: number): Buffer {
    writer.begin(COPY_OUT_RESPONSE).u8(0).u16(columnCount);
    for (let column = 0; column < columnCount; column++) writer.u16(0);
    writer.end();
    for (const line of lines) writer.begin(Frame.copyData).raw(line).end();
    writer.begin(Frame.copyDone).end();
    return ready();
  },

  copyBoth: () => writer.begin(Frame.copyBothResponse).u8(0).u16(0).end().take(),

  /** `ERROR` leaves the session ready for the next query, `FATAL` ends it. */
  error(severity: 'ERROR' | 'FATAL', sqlState: string, message: string): Buffer {
    writer.begin(Frame.error);
    for (const field of [`S${severity}`, `V${severity}`, `C${sqlState}`, `M${message}`]) writer.text(field);
    writer.u8(0).end();
    return severity === 'FATAL' ? writer.take() : ready();
  },
};

const writer = new FrameWriter();

function ready(): Buffer {
  return writer.begin(COMMAND_COMPLETE).text('OK').end().begin(Frame.readyForQuery).raw('I').end().take();
}

const COPY_OUT_RESPONSE = 0x48;
const COMMAND_COMPLETE = 0x43;
