import { describeSink, describeSource, type MemorySinkOptions, memorySink, memorySource } from '../../../lib/testing/index.ts';
import { memorySourceFixture } from './memory-source-fixture.ts';

const settings: Readonly<Record<string, MemorySinkOptions>> = {
  'writing each delivery': {},
  'flushing by interval': { flushIntervalMs: 5000, writeMs: 20 },
  'flushing by count': { flushIntervalMs: 60_000, flushRows: 2 },
};

for (const [name, options] of Object.entries(settings)) {
  describeSink(`memory, ${name}`, async () => {
    const sink = memorySink(options);
    return {
      sink,
      read: async () => sink.changes(),
      hold: () => sink.hold(),
      release: () => sink.release(),
      failNext: () => sink.failNext(),
      published: async () => sink.published.at(-1) ?? null,
      close: async () => {},
    };
  });
}

describeSource('memory', async () => memorySourceFixture(memorySource()));
