import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { of } from 'rxjs';
import { runCommandLine } from '../../bin/command-line.ts';
import { Output } from '../../bin/output.ts';
import { showProgress } from '../../bin/progress.ts';
import { type RunStatus, run } from '../../lib/index.ts';
import { pipelineIn, transaction, World } from '../support/run-world.ts';

/** A terminal, and all that was written to it. */
function terminal(): { stream: NodeJS.WritableStream; text(): string } {
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 200 });
  let text = '';
  stream.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  return { stream, text: () => text };
}

describe('the progress bar on a terminal', () => {
  it('is not shown for a start that fails: the error stands alone', async () => {
    const { stream, text } = terminal();
    const dir = await mkdtemp(join(tmpdir(), 'millrace-bar-'));
    const places = ['--to', pathToFileURL(join(dir, 'out')).href, '--state', join(dir, 'state')];
    const args = ['capture', '--from', 'postgres://app:hunter2@127.0.0.1:1/shop', ...places];
    const code = await runCommandLine(args, { stdout: new PassThrough(), stderr: stream });
    await rm(dir, { recursive: true });
    expect({ code, text: text() }).toEqual({ code: 1, text: expect.stringMatching(/^millrace: MR_SOURCE_UNREACHABLE[^\n]*\n$/) });
  });

  it('counts what a snapshot has copied, before any of it is durable', () => {
    const table = { rows: 0, bytes: 0, files: 0, snapshotDone: false, stopped: false };
    const copying = (...tables: [rows: number, copied: boolean][]): RunStatus => ({
      ...{ phase: 'snapshot', rowsPerSecond: 0, rows: 0, bytes: 0, files: 0, checkpointTs: 0n, resolvedTs: 0n, sourceTs: 9n },
      ...{ lagMs: null, pendingEvents: 1, pendingBytes: 100 },
      tables: Object.fromEntries(tables.map(([snapshotRows, snapshotCopied], i) => [`t${i}`, { ...table, snapshotRows, snapshotCopied }])),
    });
    const { stream, text } = terminal();
    const hide = showProgress(
      { status$: of(copying([0, false], [0, false]), copying([2500, true], [10, false])) },
      new Output({ stdout: new PassThrough(), stderr: stream }),
    );
    hide();
    expect(text()).toMatch(/snapshot {2}░{12} copied 0 rows, 0 of 2 tables \| written 0 rows/);
    expect(text()).toMatch(/snapshot {2}█{6}░{6} copied 2,510 rows, 1 of 2 tables \| written 0 rows, 0\/s/);
  });

  it('is shown for a run that began, to its end', async () => {
    const { stream, text } = terminal();
    const running = run(pipelineIn(new World(), { source: { deliveries: () => [transaction(5n, 3)] } }));
    const hide = showProgress(running, new Output({ stdout: new PassThrough(), stderr: stream }));
    await running.done;
    hide();
    expect(text()).toMatch(/closed .*checkpoint 5 \| written 3 rows, [\d,]+\/s/);
  });
});
