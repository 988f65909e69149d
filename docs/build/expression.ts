import {
  type CallExpression,
  type Expression,
  type FunctionExpression,
  isArrayLiteralExpression,
  isArrowFunction,
  isCallExpression,
  isIdentifier,
  isObjectLiteralExpression,
  isParameterDeclaration,
  isPropertyAssignment,
  isShorthandPropertyAssignment,
  isVariableDeclaration,
  type Node,
  type SourceFile,
} from 'typescript/unstable/ast';

/** Beyond this many characters a value is called by its name. */
const VALUE_MAX = 130;

/**
 * How the first case of a spec calls `name`: what stands in the box of the diagram. Where an argument is a variable, or a parameter of a table of cases,
 * its value stands there instead, if it is plain.
 */
export function expressionOf(name: string, spec: SourceFile): string {
  const isCall = (call: CallExpression) => isIdentifier(call.expression) && call.expression.text === name;
  const firstCase = firstOf(spec, (node) => isCallExpression(node) && /^it\b/.test(node.getText(spec)) && node.arguments.length > 1) as
    | CallExpression
    | undefined;
  const call =
    firstOf(firstCase ?? spec, (node) => isCallExpression(node) && isCall(node)) ??
    firstOf(spec, (node) => isCallExpression(node) && isCall(node));
  if (call === undefined) return `${name}(…)`;
  const values = new Map([
    ...variables(spec, spec),
    ...(firstCase === undefined ? [] : [...variables(firstCase, spec), ...caseValues(firstCase, spec)]),
  ]);
  return textWith(call as CallExpression, values, spec)
    .replace(/\s+/g, ' ')
    .replace(/^(\w+)<[^(]*>\(/, '$1(')
    .replace(/,? (?=[}\]])/g, (gap) => gap.replace(',', ''))
    .replace(/\[ /g, '[')
    .replace(/ \]/g, ']');
}

/** The call's text with the values of the identifiers in its arguments. */
function textWith(call: CallExpression, values: ReadonlyMap<string, string>, file: SourceFile): string {
  const edits: { readonly from: number; readonly to: number; readonly text: string }[] = [];
  const visit = (node: Node): void => {
    if (isArrowFunction(node)) return;
    if (isShorthandPropertyAssignment(node)) {
      const value = values.get(node.name.getText(file));
      if (value !== undefined) edits.push({ from: node.getStart(file), to: node.getEnd(), text: `${node.name.getText(file)}: ${value}` });
    } else if (isPropertyAssignment(node)) {
      visit(node.initializer);
    } else if (isIdentifier(node)) {
      const value = values.get(node.text);
      if (value !== undefined) edits.push({ from: node.getStart(file), to: node.getEnd(), text: value });
    } else {
      node.forEachChild(visit);
    }
  };
  for (const argument of call.arguments) visit(argument);
  let text = file.text.slice(call.getStart(file), call.getEnd());
  for (const { from, to, text: value } of edits.reverse()) {
    const at = from - call.getStart(file);
    text = text.slice(0, at) + value + text.slice(at + to - from);
  }
  return text;
}

/** Plain values of the `const` declarations in `scope` (of a file, of those at its top). */
function variables(scope: Node, file: SourceFile): [string, string][] {
  const found: [string, string][] = [];
  const visit = (node: Node): void => {
    if (isVariableDeclaration(node) && node.initializer !== undefined && isIdentifier(node.name))
      found.push(...plain(node.name.text, node.initializer, file));
    else if (scope !== file || !isCallExpression(node)) node.forEachChild(visit);
  };
  scope.forEachChild(visit);
  return found;
}

/** What the first row of `it.each([…])` gives to the parameters of the case. */
function caseValues(test: CallExpression, file: SourceFile): [string, string][] {
  const body = test.arguments.at(-1);
  if (body === undefined || !isArrowFunction(body)) return [];
  const table = isCallExpression(test.expression) ? firstOf(test.expression, isArrayLiteralExpression) : undefined;
  const row = table !== undefined && isArrayLiteralExpression(table) ? table.elements[0] : undefined;
  const cells = row !== undefined && isArrayLiteralExpression(row) ? row.elements : [];
  return (body as unknown as FunctionExpression).parameters.flatMap((parameter, i) => {
    if (!isParameterDeclaration(parameter) || !isIdentifier(parameter.name)) return [];
    const value = cells[i] ?? parameter.initializer;
    return value === undefined ? [] : plain(parameter.name.text, value, file);
  });
}

function plain(name: string, value: Expression, file: SourceFile): [string, string][] {
  const text = value.getText(file);
  const isPlain = isObjectLiteralExpression(value) || isArrayLiteralExpression(value) || /^(?:-?[\d_.]+n?|'[^']*'|true|false)$/.test(text);
  return isPlain && text.length <= VALUE_MAX ? [[name, text]] : [];
}

function firstOf(node: Node, matches: (node: Node) => boolean): Node | undefined {
  if (matches(node)) return node;
  return node.forEachChild((child) => firstOf(child, matches));
}
