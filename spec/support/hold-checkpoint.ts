import { fileCheckpoint } from '../../lib/runtime/checkpoint-file.ts';

/** Takes the state of pipeline `p` and keeps it until it is killed, or closes it when its input ends. */
const store = fileCheckpoint(process.argv[2]!);
await store.save('p', { checkpointTs: BigInt(process.pid), sourceState: null });
process.stdout.write('held\n');
process.stdin.resume().on('end', () => store.close?.());
