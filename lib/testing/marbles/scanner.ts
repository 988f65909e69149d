import { MillraceError } from '../../errors.ts';

/** Reads a text from left to right, and says where it is wrong. */
export class Scanner {
  readonly text: string;
  at = 0;
  /** Blanks passed so far that separate something: they take no time. */
  blanks = 0;

  constructor(text: string) {
    this.text = text;
  }

  get isAtEnd(): boolean {
    return this.at >= this.text.length;
  }

  /** What the sticky `pattern` finds here; then it is passed. */
  take(pattern: RegExp): RegExpExecArray | null {
    const match = this.look(pattern);
    if (match !== null) this.at += match[0].length;
    return match;
  }

  /** What the sticky `pattern` finds here. */
  look(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    return pattern.exec(this.text);
  }

  skipBlanks(): void {
    const { length } = this.take(/\s*/y)![0];
    this.blanks += length;
  }

  /** @throws MR_MARBLES_MALFORMED with the text and a caret at `at`. */
  fail(reason: string, advice: string, at = this.at): never {
    throw malformed(this.text, at, reason, advice);
  }
}

/** The error of a diagram that makes no sense at its character `at`: it shows the diagram, a caret, and what to do. */
export function malformed(text: string, at: number, reason: string, advice: string): MillraceError {
  const line = text.replace(/\s/g, ' ');
  const caret = `${' '.repeat(at)}^`;
  return new MillraceError('MR_MARBLES_MALFORMED', { reason, advice, diagram: `\n\n    ${line}\n    ${caret}\n` });
}
