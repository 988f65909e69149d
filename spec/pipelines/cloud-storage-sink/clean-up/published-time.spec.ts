import { expect, it } from '@jest/globals';
import { PublishedTime } from '../../../../pipelines/cloud-storage-sink/clean-up/published-time.ts';

it('is the commit time of a checkpoint that has been published: never of a later one, and never going back', () => {
  const time = new PublishedTime();
  const note = (checkpointTs: bigint, ms: bigint, publishedTs: bigint | null) => {
    time.note({ checkpointTs, checkpointTimeUs: ms * 1000n }, publishedTs);
    return time.ms;
  };
  expect(note(10n, 1000n, null)).toBeNull();
  // 10 waits to be published: nothing is known of 20 then.
  expect(note(20n, 2000n, 9n)).toBeNull();
  expect(note(30n, 3000n, 10n)).toBe(1000);
  expect(note(40n, 4000n, 29n)).toBe(1000);
  expect(note(40n, 4000n, 30n)).toBe(3000);
  expect(note(40n, 4000n, 40n)).toBe(4000);
  expect(note(50n, 500n, 50n)).toBe(4000);
});
