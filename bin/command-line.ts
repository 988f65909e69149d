import { readFileSync } from 'node:fs';
import { Command, CommanderError, type Option } from 'commander';
import { reasonOf } from '../lib/errors.ts';
import { isMillraceError, scrubText } from '../lib/index.ts';
import { captureCommand } from './capture.ts';
import { ddlTextCommand } from './ddl-text.ts';
import { describeCommand } from './describe.ts';
import { eventsCommand } from './events.ts';
import type { ExitCode } from './exit-code.ts';
import { Output, type Streams } from './output.ts';
import { readCommand } from './read.ts';
import { teardownCommand } from './teardown.ts';
import { verifyCommand } from './verify.ts';

/**
 * Runs one command. What it writes to standard output is complete when the promise resolves.
 *
 * @returns the exit code of the process; no error is thrown.
 */
export async function runCommandLine(args: readonly string[], streams: Streams = process): Promise<ExitCode> {
  const output = new Output(streams);
  let exitCode: ExitCode = 0;
  const program = new Command('millrace')
    .description('Captures the changes of a PostgreSQL database into files, and checks, reads and describes them.')
    .version(versionOfPackage(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print the help')
    .helpCommand('help [command]', 'print the help of a command')
    .addHelpText('after', '\nExit codes: 0 everything asked for was done, 1 it failed or differs, 2 wrong usage.');
  for (const make of [captureCommand, verifyCommand, readCommand, eventsCommand, describeCommand, ddlTextCommand, teardownCommand]) {
    program.addCommand(
      make(output, (code) => {
        exitCode = code;
      }),
    );
  }
  for (const command of [program, ...program.commands]) {
    const name = command === program ? 'millrace' : `millrace ${command.name()}`;
    command.showHelpAfterError(`(${name} --help lists what there is)`);
    command.configureHelp({ optionDescription });
    command.exitOverride().configureOutput({
      writeOut: (text) => output.stdout.write(text),
      writeErr: (text) => output.stderr.write(scrubText(text)),
    });
  }
  try {
    await program.parseAsync([...args], { from: 'user' });
  } catch (error) {
    exitCode = error instanceof CommanderError ? (error.exitCode === 0 ? 0 : 2) : output.failed(error, isUsage(error));
  }
  await output.end();
  return exitCode;
}

/** Writes a default as the texts of options do that say theirs themselves. */
function optionDescription({ description, argChoices, defaultValue }: Option): string {
  const choices = argChoices === undefined ? '' : `: ${argChoices.join(' or ')}`;
  return `${description}${choices}${typeof defaultValue === 'string' ? ` (default: ${defaultValue})` : ''}`;
}

function isUsage(error: unknown): boolean {
  return (
    isMillraceError(error, 'MR_INVALID_OPTION') || isMillraceError(error, 'MR_UNKNOWN_OPTION') || isMillraceError(error, 'MR_INVALID_URI')
  );
}

/** The package's version: `package.json` stands one folder up, or two in the built package. */
function versionOfPackage(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { name?: string; version?: string };
      if (name === 'millrace' && version !== undefined) return version;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw new Error(`package.json: ${reasonOf(error)}`, { cause: error });
    }
  }
  return 'unknown';
}
