// Where the values of a JSON text stand in it, so that one can be changed and every other byte
// stays. Pure.

/** A value of the text, from `start` up to `end`. */
export interface JsonNode {
  readonly start: number;
  readonly end: number;
  /** Of an object, in the order of the text; keys may repeat, and the last counts. */
  readonly members?: readonly JsonMember[];
  readonly elements?: readonly JsonNode[];
}

export interface JsonMember {
  readonly key: string;
  /** Where the key begins. */
  readonly start: number;
  readonly node: JsonNode;
}

/** Deeper than any configuration, and shallow enough for recursion. */
const MAX_DEPTH = 1000;

/** Walks through a text that JSON.parse has taken. */
class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  node(depth: number): JsonNode {
    if (depth > MAX_DEPTH) throw new SyntaxError(`it is nested more than ${MAX_DEPTH} deep`);
    this.#skipSpace();
    const start = this.#at;
    const first = this.#text.charAt(start);
    if (first === '{') {
      const members = this.#list('}', () => this.#member(depth));
      return { start, end: this.#at, members };
    }
    if (first === '[') {
      const elements = this.#list(']', () => this.node(depth + 1));
      return { start, end: this.#at, elements };
    }
    if (first === '"') this.#skipString();
    else while (/[\w+.-]/.test(this.#text.charAt(this.#at))) this.#at += 1;
    return { start, end: this.#at };
  }

  #member(depth: number): JsonMember {
    const start = this.#at;
    this.#skipString();
    const key = JSON.parse(this.#text.slice(start, this.#at)) as string;
    this.#skipSpace();
    this.#at += 1;
    return { key, start, node: this.node(depth + 1) };
  }

  #list<T>(close: string, entry: () => T): T[] {
    const entries: T[] = [];
    this.#at += 1;
    this.#skipSpace();
    while (this.#text.charAt(this.#at) !== close) {
      entries.push(entry());
      this.#skipSpace();
      if (this.#text.charAt(this.#at) === ',') this.#at += 1;
      this.#skipSpace();
    }
    this.#at += 1;
    return entries;
  }

  #skipString(): void {
    this.#at += 1;
    while (this.#text.charAt(this.#at) !== '"')
      this.#at += this.#text.charAt(this.#at) === '\\' ? 2 : 1;
    this.#at += 1;
  }

  #skipSpace(): void {
    while (/[ \t\r\n]/.test(this.#text.charAt(this.#at))) this.#at += 1;
  }
}

/** The value of a text. Throws SyntaxError for what is no JSON, or nested more than 1000 deep. */
export function parseJsonText(text: string): JsonNode {
  const problem = syntaxProblem(text);
  if (problem !== undefined) throw new SyntaxError(problem);
  return new Scanner(text).node(0);
}

function syntaxProblem(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The member of a name: the last of that name, since Go's decoder and JSON.parse take that. */
export function memberOf(node: JsonNode, name: string): JsonMember | undefined {
  return node.members?.findLast(({ key }) => key === name);
}

/** The same as Go decodes into a field: the exact name, else one that differs in case only. */
export function memberLike(node: JsonNode, name: string): JsonMember | undefined {
  return (
    memberOf(node, name) ??
    node.members?.findLast(({ key }) => key.toLowerCase() === name.toLowerCase())
  );
}

/** What a node stands for. */
export function valueOf(text: string, { start, end }: JsonNode): unknown {
  return JSON.parse(text.slice(start, end)) as unknown;
}

/** A text with `[start, end)` replaced. */
export function splice(text: string, start: number, end: number, by = ''): string {
  return text.slice(0, start) + by + text.slice(end);
}

/** The white space that stands directly before a place. */
export function gapBefore(text: string, at: number): string {
  return /[ \t\r\n]*$/.exec(text.slice(0, at))?.[0] ?? '';
}
