import type { Command } from 'commander';

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
