import { simulateCommand } from './command.ts';
import { SCENARIOS } from './scenarios.ts';

process.exitCode = await simulateCommand(process.argv.slice(2), { scenarios: SCENARIOS, stdout: process.stdout, stderr: process.stderr });
