// Text of others (names, paths, messages, damaged records) on its way to a terminal or a log.

/**
 * What a terminal obeys or leaves blank instead of showing it: controls, formats, halves of
 * surrogate pairs and code points without a meaning (general category C), every space but the usual
 * one and separators of lines (Z), what a renderer may leave out (fillers, variation selectors;
 * Default_Ignorable_Code_Point of UAX #44), and the empty Braille pattern.
 */
const UNPRINTABLE = /(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/gu;

/** What most texts are: to compile the expression above takes longer than to print them. */
const PLAIN = /^[ -~]*$/;

const SHORT: Readonly<Record<string, string>> = {
  '\n': String.raw`\n`,
  '\r': String.raw`\r`,
  '\t': String.raw`\t`,
};

function escapeCharacter(character: string): string {
  const units = character.split('').map((unit) => unit.charCodeAt(0).toString(16).padStart(4, '0'));
  return SHORT[character] ?? units.map((unit) => String.raw`\u` + unit).join('');
}

/**
 * The text in one line that can be shown anywhere: every character that is not printable is
 * replaced by its escape as in JSON (`\n`, `\u001b`; two for one beyond U+FFFF). Backslashes stay,
 * so to escape twice changes nothing, and the text of JSON without line breaks stays JSON of the
 * same value.
 */
export function printable(text: string): string {
  if (PLAIN.test(text)) return text;
  return text.replaceAll(UNPRINTABLE, escapeCharacter);
}

/** The same for a text that holds no blank, as a name: the usual space is escaped as well. */
export function visible(text: string): string {
  return printable(text).replaceAll(' ', escapeCharacter);
}

/** `printable` for a text whose line breaks are its own. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}
