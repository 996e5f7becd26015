// Text of others (names, paths, messages, damaged records) on its way to a terminal or a log.

/**
 * What a terminal may obey instead of showing: control characters (C0, DEL, C1), format characters
 * (bidirectional controls, zero-width ones, tags), separators of lines and paragraphs, halves of
 * surrogate pairs.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

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

/** The same for a text whose line breaks are its own. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}
