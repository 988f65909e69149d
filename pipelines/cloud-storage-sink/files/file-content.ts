import { isMillraceError, type MillraceError } from '../../../lib/errors.ts';
import { crc32Of } from '../../../lib/formats/checksum.ts';
import type { Spool, SpoolEntry } from '../../../lib/spool/index.ts';
import type { ObjectBody } from '../../../lib/stores/index.ts';
import type { Flush } from '../../../operators/index.ts';
import type { FileContent } from '../../storage-writer/data-directory.ts';
import type { SpooledRows } from '../rows/spool-rows.ts';
import type { Target } from '../target.ts';

/**
 * The data file of a flush. Its length and checksum are known before anything is read; what is on disk is read when the store asks for it, and again when it asks
 * again.
 */
export function contentOf(
  { spool, encoder, drafts }: Pick<Target, 'spool' | 'encoder' | 'drafts'>,
  { events, bytes }: Flush<SpooledRows>,
): FileContent {
  const entries = events.map(({ entry }) => entry);
  const header = encoder.header(events[0]!.table);
  const head = header === null ? [] : [header];
  const allBytes = bytes + (header?.length ?? 0);
  return {
    rows: events.reduce((sum, { rows }) => sum + rows, 0),
    runs: events.map(({ runs }) => runs),
    body: drafts.take(events) ?? bodyOf(spool, entries, head, allBytes),
    bytes: allBytes,
    crc32: spool.checksumOf(entries, header === null ? 0 : crc32Of(header)),
  };
}

/** What a write failed of, where its body could not be read from the spool: that is no fault of the store, whatever it says. */
export function spoolFailureIn(error: unknown): MillraceError | null {
  for (let cause = error; typeof cause === 'object' && cause !== null; cause = 'cause' in cause ? cause.cause : null) {
    if (isMillraceError(cause) && cause.code.startsWith('MR_SPOOL_')) return cause;
  }
  return null;
}

function bodyOf(spool: Spool, entries: readonly SpoolEntry[], head: readonly Buffer[], bytes: number): ObjectBody {
  const held = spool.held(entries);
  return held === null ? { bytes, chunks: () => chunksOf(spool, entries, head) } : [...head, ...held];
}

async function* chunksOf(spool: Spool, entries: readonly SpoolEntry[], head: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* head;
  for await (const { values } of spool.read(entries)) yield* values;
}
