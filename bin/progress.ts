import { SingleBar } from 'cli-progress';
import { formatDuration, type Running, type RunStatus } from '../lib/index.ts';
import type { Output } from './output.ts';

/** Elsewhere than on a terminal, a status line is logged when this many statuses (twice a second) have passed. */
const STATUSES_A_LINE = 10;

/** Shows how a run goes on standard error: a live bar on a terminal, JSON lines elsewhere. Returns a function that ends it. */
export function showProgress(running: Pick<Running, 'status$'>, output: Output): () => void {
  const shown = output.isTerminal ? bar(output) : lines(output);
  const subscription = running.status$.subscribe((status) => shown.next(status));
  return () => {
    subscription.unsubscribe();
    shown.end();
  };
}

interface Display {
  next(status: RunStatus): void;
  end(): void;
}

/** How far the checkpoint has come from where it began to where the source is; while tables are copied, how many of them are done. */
function bar(output: Output): Display {
  const format = '{phase} {bar} {place} | written {rows} rows, {rate}/s';
  const options = { format, barsize: 12, hideCursor: true, clearOnComplete: false, stream: output.stderr, emptyOnZero: true };
  const single = new SingleBar({ ...options, barCompleteChar: '█', barIncompleteChar: '░' });
  let first: bigint | null = null;
  let isShown = false;
  output.clearBar = () => {
    if (isShown) output.stderr.write('\r\x1b[K');
  };
  return {
    next(status) {
      const { checkpointTs, sourceTs } = status;
      // A start that fails has nothing to show.
      if (!isShown && (status.phase === 'starting' || status.phase === 'failed')) return;
      if (first === null && checkpointTs > 0n) first = checkpointTs;
      const copy = status.phase === 'snapshot' ? copyOf(status) : null;
      const isThere = status.phase === 'closed' || checkpointTs >= sourceTs;
      const streamed = first === null ? 0 : isThere ? 1000 : Number(((checkpointTs - first) * 1000n) / (sourceTs - first));
      const share = copy === null ? streamed : Math.floor((copy.done * 1000) / copy.tables);
      const lag = status.lagMs === null ? '–' : formatDuration(status.lagMs);
      const values = {
        phase: status.phase.padEnd(9),
        rows: status.rows.toLocaleString('en'),
        rate: status.rowsPerSecond.toLocaleString('en'),
        place:
          copy === null
            ? `lag ${lag} | checkpoint ${checkpointTs === 0n ? '–' : checkpointTs}`
            : `copied ${copy.rows.toLocaleString('en')} rows, ${copy.done} of ${copy.tables} tables`,
      };
      if (isShown) single.update(share, values);
      else single.start(1000, share, values);
      isShown = true;
    },
    end() {
      // The bar goes back to the cursor it saved when it started; lines were printed above it since.
      if (isShown) output.stderr.write('\x1b7');
      if (isShown) single.stop();
      isShown = false;
    },
  };
}

/** What the source has read of the tables as they are. Rows become durable later, by files. Null while no table is known. */
function copyOf({ tables }: RunStatus): { readonly rows: number; readonly done: number; readonly tables: number } | null {
  const all = Object.values(tables);
  if (all.length === 0) return null;
  const done = all.filter(({ snapshotCopied }) => snapshotCopied).length;
  return { rows: all.reduce((sum, { snapshotRows }) => sum + snapshotRows, 0), done, tables: all.length };
}

function lines(output: Output): Display {
  let count = 0;
  let lastPhase = '';
  return {
    next({ tables, phase, checkpointTs, resolvedTs, sourceTs, ...numbers }) {
      if (phase === lastPhase && ++count % STATUSES_A_LINE !== 0) return;
      lastPhase = phase;
      const positions = { checkpointTs: String(checkpointTs), resolvedTs: String(resolvedTs), sourceTs: String(sourceTs) };
      output.logger.info({ phase, ...numbers, ...positions, tables: Object.keys(tables).length }, 'status');
    },
    end() {},
  };
}
