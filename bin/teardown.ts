import { Command } from 'commander';
import { teardown } from '../lib/sources/postgres/index.ts';
import type { ExitCode } from './exit-code.ts';
import { databaseOption } from './options.ts';
import type { Output } from './output.ts';
import { requireOptions } from './required.ts';

interface TeardownCommandOptions {
  readonly from: string;
  readonly slot: string;
  readonly publication: string;
}

/** `millrace teardown`: removes from the database what capture created there. */
export function teardownCommand(output: Output, exit: (code: ExitCode) => void): Command {
  const command = new Command('teardown')
    .description(
      'Removes what capture created in the database: the replication slot, the event triggers of ddl-text, and the publication if Millrace made it.',
    )
    .option('--from <url>', 'the database: postgres://user:password@host/database (required)')
    .option('--slot <name>', 'the replication slot', 'millrace')
    .option('--publication <name>', 'the publication', 'millrace')
    .addHelpText(
      'after',
      '\nPrints: slot|publication <TAB> name <TAB> dropped|absent|kept. Kept is a publication that capture did not make for this slot.\nWhere there were event triggers: ddl-text <TAB> slot <TAB> dropped.',
    )
    .action(async ({ from, slot, publication }: TeardownCommandOptions) => {
      const report = await teardown({ url: databaseOption(from), slot, publication });
      await output.line(`slot\t${slot}\t${report.slot}`);
      await output.line(`publication\t${publication}\t${report.publication}`);
      if (report.ddlText === 'dropped') await output.line(`ddl-text\t${slot}\t${report.ddlText}`);
      exit(0);
    });
  return requireOptions(command, ['from']);
}
