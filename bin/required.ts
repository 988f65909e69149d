import type { Command, OptionValues } from 'commander';
import { MillraceError } from '../lib/index.ts';

/**
 * Ends a command wrongly used when one of these options was not given. Unlike commander's own required options it looks after unknown ones were found, so
 * that a typing error is named as such.
 */
export function requireOptions(command: Command, names: readonly string[]): Command {
  return command.hook('preAction', () => {
    for (const name of names) {
      if (command.getOptionValue(name) === undefined) command.error(`error: required option '--${name}' not specified`, { exitCode: 2 });
    }
  });
}

/** An option, under its long name, that does something beside another one only. */
export interface DependentOption {
  readonly name: string;
  /** What it needs, behind "it must be". */
  readonly bound: string;
  /** Whether that is there. */
  isOfUse(options: OptionValues): boolean;
}

/** Ends a command wrongly used (MR_INVALID_OPTION) when an option was given that would do nothing. */
export function refuseIdleOptions(command: Command, dependents: readonly DependentOption[]): Command {
  return command.hook('preAction', () => {
    for (const { name, bound, isOfUse } of dependents) {
      const key = command.options.find((option) => option.long === `--${name}`)!.attributeName();
      // What was not given has its default, which asks for nothing.
      if (command.getOptionValueSource(key) !== 'cli' || isOfUse(command.opts())) continue;
      throw new MillraceError('MR_INVALID_OPTION', { option: name, value: JSON.stringify(command.getOptionValue(key)), bound });
    }
  });
}

/** Of the commands that follow what comes. */
export const FOLLOW_INTERVAL: DependentOption = {
  name: 'interval',
  bound: 'given with --follow: without it the command looks once',
  isOfUse: ({ follow }) => follow === true,
};
