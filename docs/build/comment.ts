/** A doc comment in the parts that `docs/operators` shows. */
export interface DocComment {
  /** Everything before the first tag. */
  readonly text: string;
  /** The first paragraph. */
  readonly summary: string;
  /** What follows `In plain words:`; empty where there is none. */
  readonly plainWords: string;
  /** The other paragraphs, without the image. */
  readonly prose: readonly string[];
  readonly params: readonly string[];
  readonly returns: string;
  readonly see: readonly string[];
  /** Code, with its caption if it has one. */
  readonly examples: readonly Example[];
}

export interface Example {
  readonly caption: string;
  readonly code: string;
  /** Of the first line of code, counted from 0 where the comment begins. */
  readonly line: number;
}

export function parseComment(source: string): DocComment {
  const lines = source.split('\n').map((line) =>
    line
      .replace(/^\s*\/\*\*\s?/, '')
      .replace(/\s*\*\/\s*$/, '')
      .replace(/^\s*\*(?: |$)/, ''),
  );
  const sections: { tag: string; line: number; lines: string[] }[] = [{ tag: '', line: 0, lines: [] }];
  let isCode = false;
  lines.forEach((line, number) => {
    if (/^\s*```/.test(line)) isCode = !isCode;
    const tag = isCode ? null : /^@(\w+) ?(.*)$/.exec(line);
    if (tag === null) sections.at(-1)!.lines.push(line);
    else sections.push({ tag: tag[1]!, line: number, lines: [tag[2]!] });
  });
  const text = sections[0]!.lines.join('\n').trim();
  const paragraphs = text.split(/\n\s*\n/).map((paragraph) => paragraph.trim());
  const isPlain = (paragraph: string) => paragraph.startsWith('In plain words:');
  const tagged = (tag: string) => sections.filter((section) => section.tag === tag).map((section) => joined(section.lines.join('\n')));
  return {
    text: joined(text),
    summary: joined(paragraphs[0]!),
    plainWords: joined((paragraphs.find(isPlain) ?? '').replace(/^In plain words:\s*/, '')),
    prose: paragraphs
      .slice(1)
      .filter((paragraph) => !isPlain(paragraph) && !paragraph.startsWith('!['))
      .map(joined),
    params: tagged('param'),
    returns: tagged('returns').join(' '),
    see: tagged('see'),
    examples: sections.filter(({ tag }) => tag === 'example').map(exampleOf),
  };
}

/** A paragraph on one line; tables and lists stay as they are. */
function joined(paragraph: string): string {
  return /^\s*[|-]/m.test(paragraph) ? paragraph.trim() : paragraph.trim().replace(/\s*\n\s*/g, ' ');
}

function exampleOf({ line, lines }: { readonly line: number; readonly lines: readonly string[] }): Example {
  const open = lines.findIndex((text) => text.startsWith('```'));
  const close = lines.findIndex((text, i) => i > open && text.startsWith('```'));
  if (open < 0 || close < 0) throw new Error(`an @example holds no block of code: ${lines.join(' ')}`);
  const code = lines.slice(open + 1, close);
  return { caption: joined(lines.slice(0, open).join('\n')), code: `${code.join('\n')}\n`, line: line + open + 1 };
}
