import { expect } from '@jest/globals';
import type { ErrorCode } from '../../lib/errors.ts';
import type { CliResult } from './cli.ts';
import { errorsIn, type Pipeline, type RunCli } from './pipeline.ts';

/** The test servers' password is `first-light`; `hunter2` is that of roles and mistakes. */
const SECRETS = /first-light|hunter2/;

/** What `verify` says of a pipeline's tables when nothing was lost. */
export const IDENTICAL = { 'public.events': 'identical', 'public.users': 'identical' };

/** Ended, with 1, with exactly this error, told once and with these words, and no secret in anything that was printed. */
export function expectError({ code, stdout, stderr }: CliResult, errorCode: ErrorCode, words: readonly string[]): void {
  const errors = errorsIn(stderr);
  const said = words.filter((word) => errors.some(({ message }) => message.includes(word)));
  expect({ code, stdout, errors, said }).toEqual({
    code: 1,
    stdout: '',
    errors: [{ code: errorCode, message: expect.any(String) }],
    said: words,
  });
  expect(stderr).not.toMatch(SECRETS);
}

/** `expectError`, and the command has changed nothing of the pipeline: on the server, in the state, at the target. */
export async function expectRefusal(
  cli: RunCli,
  of: Pipeline,
  args: string[],
  errorCode: ErrorCode,
  words: readonly string[],
): Promise<void> {
  const before = await of.traces();
  expectError(await cli(args), errorCode, words);
  expect(await of.traces()).toEqual(before);
}
