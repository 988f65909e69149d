import { MillraceError } from '../errors.ts';

/** The options of csv (spec storage-sink §7.3); lengths are in bytes. Writer and reader must have the same. */
export interface CsvOptions {
  /** Between fields: one to three bytes; default `,`. */
  readonly delimiter?: string;
  /** Encloses text: one byte, or '' to escape with backslashes instead; default `"`. */
  readonly quote?: string;
  /** Stands for null, never quoted; default `\N`. With an empty `quote` a text that equals it reads back as null (`isNullAmbiguous`). */
  readonly null?: string;
  /** Ends each row; default CRLF. Only without a terminator is a file unreadable for `csvReader`. */
  readonly terminator?: string;
  /** The fourth field is the commitTs, without which a reader has no positions; default true. */
  readonly includeCommitTs?: boolean;
  /** `bytea` as `base64` (default) or `hex`. */
  readonly binaryEncodingMethod?: 'base64' | 'hex';
  /** An update with an old image is two rows, D and I, and each row says whether it is from an update; default false. */
  readonly outputOldValue?: boolean;
  /** Each file begins with a line of names; default false. */
  readonly outputFieldHeader?: boolean;
}

/** Validated options, as bytes. */
export interface CsvLayout {
  readonly delimiter: Buffer;
  /** −1 when fields are escaped instead. */
  readonly quote: number;
  readonly nullText: Buffer;
  readonly terminator: Buffer;
  readonly includeCommitTs: boolean;
  readonly isHex: boolean;
  readonly outputOldValue: boolean;
  readonly outputFieldHeader: boolean;
}

/**
 * Validates csv options and fills in defaults. Throws MR_INVALID_OPTION with upstream's words. Beyond upstream's rules, combinations that no reader could
 * take apart are refused: a delimiter of letters or digits, a quote that numbers or base64 hold, a null text that holds a separator, and, where
 * backslashes escape, a delimiter or terminator that escapes cannot keep apart from text.
 */
export function csvLayout(options: CsvOptions = {}): CsvLayout {
  const { delimiter = ',', quote = '"', null: nullText = '\\N', terminator = '\r\n', binaryEncodingMethod = 'base64' } = options;
  checkQuote(quote);
  checkDelimiter(delimiter, quote);
  checkNull(nullText, delimiter, quote);
  checkTerminator(terminator, quote, delimiter + nullText);
  if (binaryEncodingMethod !== 'base64' && binaryEncodingMethod !== 'hex') {
    throw invalid('binary-encoding-method', binaryEncodingMethod, 'csv config binary-encoding-method can only be hex or base64');
  }
  return {
    delimiter: Buffer.from(delimiter),
    quote: quote === '' ? -1 : quote.charCodeAt(0),
    nullText: Buffer.from(nullText),
    terminator: Buffer.from(terminator),
    includeCommitTs: options.includeCommitTs ?? true,
    isHex: binaryEncodingMethod === 'hex',
    outputOldValue: options.outputOldValue ?? false,
    outputFieldHeader: options.outputFieldHeader ?? false,
  };
}

/**
 * Whether a text can be written as the null text is: without a quote, unless that has an escape which no text is written with, as `\N` is. With a quote texts stand in
 * quotes.
 */
export function isNullAmbiguous({ quote, delimiter, null: nullText }: Required<Pick<CsvOptions, 'quote' | 'delimiter' | 'null'>>): boolean {
  const escaped = `\\rn${delimiter}`;
  return quote === '' && [...nullText.matchAll(/\\(.)/gsu)].every(([, char]) => escaped.includes(char!));
}

function checkQuote(quote: string): void {
  if (Buffer.byteLength(quote) > 1) throw invalid('quote', quote, 'csv config quote contains more than one character');
  if (/[\r\n]/.test(quote)) throw invalid('quote', quote, 'csv config quote cannot be line break character');
  if (/[A-Za-z0-9+/=.-]/.test(quote)) throw invalid('quote', quote, 'csv config quote cannot be a character of numbers or base64');
}

function checkDelimiter(delimiter: string, quote: string): void {
  if (delimiter === '') throw invalid('delimiter', delimiter, 'csv config delimiter cannot be empty');
  if (/[\r\n]/.test(delimiter)) throw invalid('delimiter', delimiter, 'csv config delimiter contains line break characters');
  if (Buffer.byteLength(delimiter) > 3) {
    const hint = 'note that escape sequences can only be used in double quotes in toml configuration items.';
    throw invalid('delimiter', delimiter, `csv config delimiter contains more than three characters, ${hint}`);
  }
  if (quote !== '' && delimiter.includes(quote)) {
    throw invalid('delimiter', delimiter, 'csv config quote and delimiter has common characters which is not allowed');
  }
  if (/[A-Za-z0-9]/.test(delimiter)) throw invalid('delimiter', delimiter, 'csv config delimiter contains letters or digits');
  if (quote === '' && /[\\+/=]/.test(delimiter)) {
    throw invalid('delimiter', delimiter, 'csv config delimiter contains a backslash or a character of base64, which needs a quote');
  }
}

function checkNull(nullText: string, delimiter: string, quote: string): void {
  if (/[\r\n]/.test(nullText) || nullText.includes(delimiter) || (quote === '' ? nullText.endsWith('\\') : nullText.includes(quote))) {
    throw invalid('null', nullText, 'csv config null contains a line break, the delimiter, the quote or ends with an escape');
  }
}

/** A reader takes the first one outside quotes for the end of the row. */
function checkTerminator(terminator: string, quote: string, bare: string): void {
  if (quote === '' && !/^[\r\n]*$/.test(terminator)) {
    throw invalid('terminator', terminator, 'csv config terminator can only be line break characters when quote is empty');
  }
  if (/[A-Za-z0-9+.-]/.test(terminator) || [...terminator].some((char) => char === quote || bare.includes(char))) {
    throw invalid('terminator', terminator, 'csv config terminator contains characters of numbers, quote, delimiter or null');
  }
}

function invalid(option: keyof typeof BOUNDS, value: string, reason: string): MillraceError {
  return new MillraceError('MR_INVALID_OPTION', { option, value: JSON.stringify(value), bound: `${BOUNDS[option]} (${reason})` });
}

const BOUNDS = {
  quote: 'one byte, or empty for backslash escapes',
  delimiter: 'one to three bytes that fields do not hold',
  null: 'text without line breaks, delimiter and quote',
  terminator: 'line breaks, or with a quote what fields, delimiter and null do not hold',
  'binary-encoding-method': 'base64 or hex',
};
