import { SingleBar } from 'cli-progress';
import { formatDuration, type Running, type RunStatus } from '../lib/index.ts';
import type { Output } from './output.ts';

/** Elsewhere than on a terminal, a status line is logged when this many statuses (twice a second) have passed. */
const STATUSES_A_LINE = 10;

/** Shows how a run goes on standard error: a live bar on a terminal, JSON lines elsewhere. Returns a function that ends it. */
export function showProgress(running: Running, output: Output): () => void {
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

/** How far the checkpoint has come from where it began to where the source is. */
function bar(output: Output): Display {
  const format = '{phase} {bar} lag {lag} | checkpoint {checkpoint} | written {rows} rows, {rate}/s';
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
      const isThere = status.phase === 'closed' || checkpointTs >= sourceTs;
      const share = first === null ? 0 : isThere ? 1000 : Number(((checkpointTs - first) * 1000n) / (sourceTs - first));
      const values = {
        phase: status.phase.padEnd(9),
        rows: status.rows.toLocaleString('en'),
        rate: status.rowsPerSecond.toLocaleString('en'),
        lag: status.lagMs === null ? '–' : formatDuration(status.lagMs),
        checkpoint: checkpointTs === 0n ? '–' : String(checkpointTs),
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
