import { formats } from './formats.ts';
import { operators } from './operators.ts';

// What is measured inside one process, in one of its own.
console.log(process.argv[2] === 'formats' ? formats() : operators());
