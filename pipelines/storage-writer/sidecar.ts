import { ByteWriter, type DispatcherId } from '../../lib/events/index.ts';
import { type Positions, stringifyDescription } from '../../lib/formats/storage-layout/index.ts';

/** Position runs of a part of a file (`PositionRun`), in whatever form they are kept. */
export interface SidecarRuns {
  /** Writes the runs as members of the sidecar's `runs`, without a comma at the end. */
  writeJson(out: ByteWriter): void;
}

/** The sidecar of a file (`stringifyPositions`). */
export function sidecarOf(
  file: { readonly rows: number; readonly bytes: number; readonly crc32: number },
  runs: readonly SidecarRuns[],
  { dispatcher, alternatives = [] }: { readonly dispatcher?: DispatcherId; readonly alternatives?: readonly Positions[] } = {},
): Buffer {
  const { rows, bytes, crc32 } = file;
  const owner = dispatcher === undefined ? '' : `"dispatcher":"${dispatcher}",`;
  const others = alternatives.length === 0 ? '' : `"or":[${alternatives.map(stringifyDescription).join()}],`;
  const out = new ByteWriter(1024);
  out.writeText(`{"v":1,"rows":${rows},"bytes":${bytes},"crc32":${crc32},${owner}${others}"runs":[`);
  runs.forEach((part, index) => {
    if (index > 0) out.writeByte(COMMA);
    part.writeJson(out);
  });
  out.writeText(']}');
  return out.buffer.subarray(0, out.length);
}

const COMMA = 0x2c;
