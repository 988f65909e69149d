import { Command } from 'commander';
import { installDdlText } from '../lib/sources/postgres/index.ts';
import type { ExitCode } from './exit-code.ts';
import { databaseOption } from './options.ts';
import type { Output } from './output.ts';
import { requireOptions } from './required.ts';

interface DdlTextOptions {
  readonly from: string;
  readonly slot: string;
  readonly publication: string;
}

/** `millrace ddl-text`: installs, as a superuser, what `capture --ddl-text` needs, so that capture itself can run as a lesser role. */
export function ddlTextCommand(output: Output, exit: (code: ExitCode) => void): Command {
  const command = new Command('ddl-text')
    .description(
      'Installs the event triggers that carry the text of schema changes to a slot: the one step of capture --ddl-text that needs a superuser.',
    )
    .option('--from <url>', 'the database, as a superuser: postgres://user:password@host/database (required)')
    .option('--slot <name>', 'the replication slot', 'millrace')
    .option('--publication <name>', 'the publication', 'millrace')
    .addHelpText(
      'after',
      '\nNeither the slot nor the publication need be there yet. Prints: ddl-text <TAB> slot <TAB> installed|present. millrace teardown removes them.',
    )
    .action(async ({ from, slot, publication }: DdlTextOptions) => {
      const result = await installDdlText({ url: databaseOption(from), slot, publication });
      await output.line(`ddl-text\t${slot}\t${result}`);
      exit(0);
    });
  return requireOptions(command, ['from']);
}
