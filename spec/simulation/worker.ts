import { type Batch, runBatch } from './campaign.ts';

/** Runs the batches that its parent sends, see `campaign.ts`. */
process.on('message', async (batch: Batch) => {
  process.send?.(await runBatch(batch));
});
