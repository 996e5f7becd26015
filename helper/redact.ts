// Names and addresses of a report, replaced; and what nobody may see of a network list. Pure.
//
// Of one node's report the same name has the same replacement everywhere, so that what belongs
// together still does. A name that is also a word of the report is replaced there, too: rather too
// much than too little.

import { encodeAddress } from './wire/ip-address.ts';
import { isJsonObject } from './protocol/shape.ts';

/** What a field's text is a name of, by the field. */
const NAMED_BY: Readonly<Record<string, string>> = {
  podNamespace: 'namespace',
  podName: 'pod',
  podUid: 'uid',
  containerId: 'container',
  sandbox: 'sandbox',
  namespace: 'namespace',
  nodeName: 'node',
  hostName: 'node',
};

/** As many characters as texts show of a long container id (nameOf in protocol/pod-names.ts). */
const SHOWN_OF_ID = 12;

/** Replacements by what they stand for. */
class Aliases {
  readonly #aliases = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  get(name: string): string | undefined {
    return this.#aliases.get(name);
  }

  /** The replacement of a name, a new one where it has none. */
  give(kind: string, name: string): string {
    const known = this.#aliases.get(name);
    if (known !== undefined) return known;
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    const alias = `${kind}-${count}`;
    this.#aliases.set(name, alias);
    return alias;
  }

  /** Lets a second name stand for what has a replacement. */
  also(name: string, alias: string): void {
    if (!this.#aliases.has(name)) this.#aliases.set(name, alias);
  }

  names(): string[] {
    return [...this.#aliases.keys()];
  }
}

function collect(value: unknown, aliases: Aliases): void {
  if (Array.isArray(value)) for (const each of value) collect(each, aliases);
  if (!isJsonObject(value)) return;
  for (const [key, field] of Object.entries(value)) {
    const kind = NAMED_BY[key];
    if (kind === undefined || typeof field !== 'string' || field === '') collect(field, aliases);
    else if (kind === 'sandbox') aliases.give(kind, field.slice(field.lastIndexOf('/') + 1));
    else {
      const alias = aliases.give(kind, field);
      if (kind === 'container') aliases.also(field.slice(0, SHOWN_OF_ID), alias);
    }
  }
}

/** Addresses that say nothing of who has them. */
const OF_NOBODY =
  /^(0\.0\.0\.0|127\.|169\.254\.|2(2[4-9]|3\d)\.|255\.255\.255\.255$|::1?$|ff[0-9a-f]{2}:)/i;

function isAddress(text: string): boolean {
  try {
    encodeAddress(text);
    return true;
  } catch {
    return false;
  }
}

const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
const MAC_OF_NOBODY = /^(00(:00){5}|ff(:ff){5}|ee(:ee){5})$/i;

/** A run of characters that names and addresses are made of. */
const WORD = /[\p{L}\p{N}._:-]+/gu;
/** What may stand at its end without being of it. */
const AROUND = /^([.:-]*)(.*?)([.:-]*)$/su;

function replaceWord(word: string, aliases: Aliases): string {
  const known = aliases.get(word);
  if (known !== undefined) return known;
  if (MAC.test(word)) return MAC_OF_NOBODY.test(word) ? word : aliases.give('mac', word);
  if (isAddress(word)) return OF_NOBODY.test(word) ? word : aliases.give('address', word);
  const [, before = '', middle = '', after = ''] = AROUND.exec(word) ?? [];
  if (middle !== word && middle !== '') return before + replaceWord(middle, aliases) + after;
  const parts = word.split(':');
  return parts.length > 1 ? parts.map((part) => replaceWord(part, aliases)).join(':') : word;
}

/** Keys of the format itself; names of things stand in others. */
const FORMAT_KEY = /^[A-Za-z]\w*$/;

/**
 * A JSON value without the names of pods, their namespaces, containers, sandboxes and nodes that
 * stand in fields for these, wherever else they stand, and without addresses of networks and
 * hardware. Lengths of prefixes stay.
 */
export function redacted(report: unknown): unknown {
  const aliases = new Aliases();
  collect(report, aliases);
  // Names that are no word: replaced first, the longest first, for one may hold another.
  const odd = aliases
    .names()
    .filter((name) => name.replace(WORD, '') !== '')
    .toSorted((a, b) => b.length - a.length);
  const replaceText = (text: string): string => {
    const plain = odd.reduce((now, name) => now.replaceAll(name, aliases.get(name) ?? ''), text);
    return plain.replace(WORD, (word) => replaceWord(word, aliases));
  };
  const replace = (value: unknown): unknown => {
    if (typeof value === 'string') return replaceText(value);
    if (Array.isArray(value)) return value.map(replace);
    if (!isJsonObject(value)) return value;
    const entries = Object.entries(value).map(([key, field]) => [
      FORMAT_KEY.test(key) ? key : replaceText(key),
      replace(field),
    ]);
    return Object.fromEntries(entries) as unknown;
  };
  return replace(report);
}

const SECRETS = /token|passw|secret|credential|private/i;
/** `key`, `etcd_key`, `clientKey`; not `keyring` or `etcd_key_file`. */
const KEY = /(^|[^a-z])key$|[a-z]Key$/;

/** A network list without the values that keep others out: keys, tokens, passwords. */
export function withoutSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, field]) => [
      key,
      SECRETS.test(key) || KEY.test(key) ? '(left out)' : withoutSecrets(field),
    ]),
  );
}
