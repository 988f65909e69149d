import { once } from 'node:events';
import pg from 'pg';
import { measureSelf } from './measured-process.ts';

// COPY … TO STDOUT, read and dropped: what the server and the socket can do.
const [url, tableName, rows] = process.argv.slice(2) as [string, string, string];

await measureSelf(async () => {
  const client = new pg.Client(url);
  await client.connect();
  const { stream } = (client as unknown as { connection: { stream: import('node:net').Socket } }).connection;
  stream.removeAllListeners('data');
  const sql = Buffer.from(`COPY ${tableName} TO STDOUT\0`);
  const query = Buffer.alloc(5);
  query[0] = 0x51;
  query.writeInt32BE(sql.length + 4, 1);
  let tail = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    tail = Buffer.concat([tail, chunk]).subarray(-6);
    // ReadyForQuery, idle, is the last message.
    if (tail.equals(Buffer.from([0x5a, 0, 0, 0, 5, 0x49]))) stream.emit('copied');
  });
  stream.write(Buffer.concat([query, sql]));
  await once(stream, 'copied');
  stream.destroy();
  return Number(rows);
});
