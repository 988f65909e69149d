import { dispatchers } from './dispatchers.ts';
import { earlyWake } from './early-wake.ts';
import { formats } from './formats.ts';
import { operators } from './operators.ts';
import { spool } from './spool.ts';

const PARTS: Readonly<Record<string, () => string | Promise<string>>> = {
  formats,
  operators,
  spool,
  dispatchers,
  'early-wake': earlyWake,
};

// What is measured inside one process, in one of its own.
console.log(await PARTS[process.argv[2]!]!());
