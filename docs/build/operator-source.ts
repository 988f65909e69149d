import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  type FunctionDeclaration,
  type InterfaceDeclaration,
  isFunctionDeclaration,
  isInterfaceDeclaration,
  isObjectBindingPattern,
  isPropertySignatureDeclaration,
  isTypeAliasDeclaration,
  type SourceFile,
  type Statement,
} from 'typescript/unstable/ast';
import { API } from 'typescript/unstable/sync';
import { type DocComment, parseComment } from './comment.ts';
import { expressionOf } from './expression.ts';

/** What the source of an operator says of it. */
export interface OperatorSource {
  /** `dedupeCommitTs`; its files are called `slug`. */
  readonly name: string;
  readonly slug: string;
  readonly comment: DocComment;
  readonly signature: string;
  /** What its parameters are made of. */
  readonly options: readonly OptionsTable[];
  /** Other exported types that the signature names, as they stand in the source. */
  readonly types: readonly string[];
  /** How the first case of its spec calls it. */
  readonly expression: string;
}

export interface OptionsTable {
  readonly name: string;
  readonly members: readonly { readonly name: string; readonly type: string; readonly isOptional: boolean; readonly text: string }[];
}

/** Reads `operators/*.ts` and their specs with TypeScript's own parser. */
export function readOperators(root: string): OperatorSource[] {
  const slugs = readdirSync(join(root, 'operators'))
    .filter((file) => file !== 'index.ts')
    .map((file) => file.replace(/\.ts$/, ''))
    .sort();
  const api = new API({ cwd: root });
  try {
    const [project] = api.updateSnapshot({ openProjects: [join(root, 'tsconfig.json')] }).getProjects();
    const open = (path: string) => {
      const file = project?.program.getSourceFile(join(root, path));
      if (file === undefined) throw new Error(`${path} is missing`);
      return file;
    };
    return slugs.map((slug) => readOperator(slug, open(`operators/${slug}.ts`), open(`spec/operators/${slug}.spec.ts`)));
  } finally {
    api.close();
  }
}

function readOperator(slug: string, file: SourceFile, spec: SourceFile): OperatorSource {
  const name = slug.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
  const declaration = file.statements.filter(isFunctionDeclaration).find((statement) => statement.name?.text === name);
  if (declaration === undefined) throw new Error(`operators/${slug}.ts does not export ${name}`);
  const comment = declaration.jsDoc?.at(-1)?.getText(file);
  if (comment === undefined) throw new Error(`${name} has no doc comment`);
  const signature = signatureOf(declaration, file);
  const parameterTypes = declaration.parameters.map((parameter) => parameter.type?.getText(file) ?? '').join(' ');
  const named = file.statements.filter((statement) => isExportedType(statement) && mentions(signature, statement.name.text));
  const interfaces = named.filter(isInterfaceDeclaration).filter((statement) => mentions(parameterTypes, statement.name.text));
  return {
    name,
    slug,
    comment: parseComment(comment),
    signature,
    options: interfaces.map((statement) => optionsTable(statement, file)),
    types: named.filter((statement) => !interfaces.some((other) => other === statement)).map((statement) => withoutExport(statement, file)),
    expression: expressionOf(name, spec),
  };
}

/** The declaration without its body and without the names that it takes its options apart into. */
function signatureOf(declaration: FunctionDeclaration, file: SourceFile): string {
  const generics = declaration.typeParameters?.map((parameter) => parameter.getText(file)).join(', ') ?? '';
  const parameters = declaration.parameters.map((parameter) => {
    const name = isObjectBindingPattern(parameter.name) ? 'options' : parameter.name.getText(file);
    const isOptional = parameter.initializer !== undefined || parameter.questionToken !== undefined;
    return `${name}${isOptional ? '?' : ''}: ${parameter.type?.getText(file) ?? 'unknown'}`;
  });
  const head = `function ${declaration.name?.text}${generics === '' ? '' : `<${generics}>`}`;
  const result = declaration.type?.getText(file) ?? 'unknown';
  const line = `${head}(${parameters.join(', ')}): ${result}`;
  return line.length <= 110 ? line : `${head}(\n${parameters.map((parameter) => `  ${parameter},\n`).join('')}): ${result}`;
}

function isExportedType(statement: Statement): statement is Statement & InterfaceDeclaration {
  return isInterfaceDeclaration(statement) || isTypeAliasDeclaration(statement);
}

function mentions(text: string, name: string): boolean {
  return new RegExp(`\\b${name}\\b`).test(text);
}

function optionsTable(declaration: InterfaceDeclaration, file: SourceFile): OptionsTable {
  const members = declaration.members.filter(isPropertySignatureDeclaration).map((member) => ({
    name: member.name.getText(file),
    type: member.type?.getText(file) ?? 'unknown',
    isOptional: member.postfixToken !== undefined,
    text: parseComment(member.jsDoc?.at(-1)?.getText(file) ?? '').text,
  }));
  return { name: declaration.name.text, members };
}

function withoutExport(statement: Statement, file: SourceFile): string {
  const comment = (statement as Statement & InterfaceDeclaration).jsDoc?.at(-1)?.getText(file);
  return `${comment === undefined ? '' : `${comment}\n`}${statement.getText(file).replace(/^export /, '')}`;
}
