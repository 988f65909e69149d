import { createWriteStream } from 'node:fs';
import { LogicalReplicationService, PgoutputPlugin } from 'pg-logical-replication';
import { measureSelf } from './measured-process.ts';

// What a team writes by hand today: the library's parsed objects, JSON.stringify, append to a file.
const [url, slot, file, endLsn, expected] = process.argv.slice(2) as [string, string, string, string, string];

const lsnOf = (text: string) => {
  const [high, low] = text.split('/') as [string, string];
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
};

await measureSelf(async () => {
  const service = new LogicalReplicationService({ connectionString: url }, { acknowledge: { auto: true, timeoutSeconds: 10 } });
  const plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: ['bench'] });
  const out = createWriteStream(file);
  const end = lsnOf(endLsn);
  let rows = 0;
  const done = new Promise<void>((resolve) => {
    service.on('data', (lsn: string, message: { tag: string }) => {
      if (message.tag === 'insert' || message.tag === 'update' || message.tag === 'delete') {
        out.write(`${JSON.stringify(message, (_key, value) => (typeof value === 'bigint' ? value.toString() : value))}\n`);
        rows++;
      }
      if (rows >= Number(expected) || lsnOf(lsn) >= end) resolve();
    });
  });
  const subscription = service.subscribe(plugin, slot).catch(() => {});
  await done;
  await new Promise<void>((resolve) => out.end(resolve));
  await service.stop();
  await subscription;
  return rows;
});
