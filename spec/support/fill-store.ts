import { openStore } from '../../lib/stores/index.ts';

/** Puts 4 MiB into the store and says how that ended. */
const store = await openStore(process.argv[2]!);
const pieces = Array.from({ length: 64 }, () => Buffer.alloc(64 * 1024, 1));
const failure = await store.put('t/large', pieces).then(
  () => null,
  (error: unknown) => error,
);
await store.put('t/small', [Buffer.from('1')]);
process.stdout.write(JSON.stringify({ failure: failure === null ? null : String(failure), large: await store.exists('t/large') }));
await store.close();
