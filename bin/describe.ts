import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command } from 'commander';
import { reasonOf } from '../lib/errors.ts';
import { type Describable, describe, isDescribable, MillraceError, stringifyJson, toMermaid } from '../lib/index.ts';
import type { ExitCode } from './exit-code.ts';
import type { Output } from './output.ts';

/** `millrace describe`: what the pipelines and event recorders that a module exports consist of. */
export function describeCommand(output: Output, exit: (code: ExitCode) => void): Command {
  return new Command('describe')
    .description('Prints the definitions that a module exports: one as JSON, several as a JSON array.')
    .argument('<file>', 'a JavaScript module, or a TypeScript one where Node or an installed tsx can load it')
    .option('--mermaid', 'print Mermaid flow charts')
    .addHelpText(
      'after',
      '\nThe module is imported, so what it does when it is imported happens: keep `run` out of it, or behind a look at process.argv.',
    )
    .action(async (file: string, { mermaid }: { mermaid?: true }) => exit(await describeFile(file, mermaid === true, output)));
}

async function describeFile(file: string, isMermaid: boolean, output: Output): Promise<ExitCode> {
  const definitions = definitionsIn(await load(file));
  if (definitions.length === 0) throw new MillraceError('MR_NO_DEFINITION', { file });
  const descriptions = definitions.map(describe);
  if (isMermaid) {
    for (const description of descriptions) await output.line(toMermaid(description).trimEnd());
  } else {
    await output.line(stringifyJson(descriptions.length === 1 ? descriptions[0]! : descriptions, 2));
  }
  return 0;
}

/** What a module exports, each definition once, also those in exported arrays. */
function definitionsIn(module: Readonly<Record<string, unknown>>): Describable[] {
  return [...new Set(Object.values(module).flat().filter(isDescribable))];
}

async function load(file: string): Promise<Record<string, unknown>> {
  const path = resolve(file);
  const url = pathToFileURL(path).href;
  try {
    return await importModule(url);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_UNKNOWN_FILE_EXTENSION') throw notLoaded(file, error);
    const loader = tsxBeside(path);
    if (loader === null) throw new MillraceError('MR_MODULE_NO_LOADER', { file, reason: reasonOf(error) }, error);
    const { tsImport } = (await importModule(loader)) as { tsImport: TsImport };
    return await tsImport(url, import.meta.url).catch((thrown: unknown) => {
      throw notLoaded(file, thrown);
    });
  }
}

/** The URL of the loader for TypeScript that is installed where `path` looks for packages; null when there is none. */
function tsxBeside(path: string): string | null {
  try {
    const resolved = createRequire(path).resolve('tsx/esm/api');
    return pathToFileURL(resolved.replace(/\.cjs$/, '.mjs')).href;
  } catch {
    return null;
  }
}

type TsImport = (url: string, parent: string) => Promise<Record<string, unknown>>;

function importModule(url: string): Promise<Record<string, unknown>> {
  return import(url) as Promise<Record<string, unknown>>;
}

function notLoaded(file: string, error: unknown): MillraceError {
  return new MillraceError('MR_MODULE_NOT_LOADED', { file, reason: reasonOf(error) }, error);
}
