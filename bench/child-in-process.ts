import { formats } from './formats.ts';
import { operators } from './operators.ts';
import { spool } from './spool.ts';

const PARTS: Readonly<Record<string, () => string | Promise<string>>> = { formats, operators, spool };

// What is measured inside one process, in one of its own.
console.log(await PARTS[process.argv[2]!]!());
