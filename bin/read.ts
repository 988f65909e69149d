import { Command } from 'commander';
import { tableMatcher } from '../lib/events/index.ts';
import { MillraceError } from '../lib/index.ts';
import { type Change, readTable, StoredTarget } from '../pipelines/index.ts';
import type { ExitCode } from './exit-code.ts';
import type { Output } from './output.ts';
import { requireOptions } from './required.ts';
import { openTarget } from './target.ts';

/** `millrace read`: the changes in a target as JSON lines. */
export function readCommand(output: Output, exit: (code: ExitCode) => void): Command {
  const command = new Command('read')
    .description("Prints a target's changes as JSON lines: in position order per table, each once, up to the target's checkpoint.")
    .option('--to <uri>', 'the target: file:///dir or s3://bucket/prefix (required)')
    .option('--table <table>', 'only this table, such as public.orders')
    .action(async (options: { to: string; table?: string }) => exit(await read(options, output)));
  return requireOptions(command, ['to']);
}

async function read({ to, table }: { readonly to: string; readonly table?: string }, output: Output): Promise<ExitCode> {
  const isChosen = table === undefined ? () => true : tableMatcher([table], 'table');
  const store = await openTarget(to);
  try {
    const target = await StoredTarget.open(store);
    const tables = target.tables();
    const chosen = tables.filter((name) => isChosen(name.schema, name.table));
    if (target.checkpointTs === null) output.logger.warn({ uri: store.uri }, 'the target has no checkpoint yet, so it shows nothing');
    if (chosen.length === 0 && table !== undefined) {
      const known = tables.map((name) => `${name.schema}.${name.table}`).join(', ');
      const checkpoint = target.checkpointTs ?? 'none yet';
      throw new MillraceError('MR_UNKNOWN_TABLE', { uri: store.uri, table, checkpoint, tables: known === '' ? 'no tables yet' : known });
    }
    for (const name of chosen) {
      for await (const changes of readTable(store, name)) await output.line(changes.map(jsonOf).join('\n'));
    }
    return 0;
  } finally {
    await store.close();
  }
}

function jsonOf({ schema, table, op, commitTs, ordinal, old, data }: Change): string {
  return JSON.stringify({ schema, table, op, commitTs: String(commitTs), ordinal, old, data });
}
