// Where a cap comes from, of which one wins, and for which namespaces there is a cap for pods that
// ask for none. What the helper decides by, and what the plugin has to know of it. Pure.

import { boolean, integer, list, object, oneOf, optional, text, type Read } from './shape.ts';
import { CAP_RANGES } from './ranges.ts';

/**
 * What a direction of a pod is capped by, the one that wins first. `most`: whether the operator's
 * ceiling cuts it. A test holds the table of the README to this one.
 */
export const CAP_SOURCES = [
  { source: 'set', title: 'what `set` has changed, until `--reset`', most: false },
  { source: 'conflist', title: 'keys in the network list, in both directions', most: false },
  { source: 'annotation', title: 'the annotation, as it is now', most: true },
  { source: 'default', title: "`default` of the namespace's rule", most: false },
] as const;

/** Who has asked for the caps of an ADD: the keys of the network list win over the annotations. */
export const capSource = oneOf(['conflist', 'annotation']);
export type CapSource = Read<typeof capSource>;

const directionSource = object({
  source: oneOf(['conflist', 'annotation', 'default']),
  /** What was asked for, where a ceiling has cut it. */
  askedBitsPerSec: optional(integer(...CAP_RANGES.rateBitsPerSec)),
});

/** Where the caps of a record come from, by direction. `set` stands beside it, in `changes`. */
export const capSources = object({
  egress: optional(directionSource),
  ingress: optional(directionSource),
});
export type CapSources = Read<typeof capSources>;

/** What a pattern may consist of: names of namespaces, and `*` for any part of one. */
export const NAMESPACE_PATTERN = /^[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?$/;

/** Whether a namespace is one of a pattern. A pod without one is in that of `*` alone. */
export function isOfNamespace(pattern: string, namespace: string): boolean {
  const parts = pattern.split('*');
  const [first = '', last = ''] = [parts.at(0), parts.at(-1)];
  if (parts.length === 1) return pattern === namespace;
  if (namespace.length < first.length + last.length) return false;
  if (!namespace.startsWith(first) || !namespace.endsWith(last)) return false;
  let at = first.length;
  const end = namespace.length - last.length;
  for (const part of parts.slice(1, -1)) {
    const found = namespace.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

/** Of the file for the plugin. A plugin goes by no file of another format. */
const FORMAT = 1;

/** Whether pods of a pattern get a cap without asking for one. */
interface DefaultRule {
  readonly namespace: string;
  readonly isDefaulted: boolean;
}

const defaultRules = object({
  format: oneOf([String(FORMAT)]),
  rules: list(object({ namespace: text, isDefaulted: boolean })),
});

/** The text of the file by which a plugin knows whether to ask the helper for a pod without a cap. */
export function formatDefaults(rules: readonly DefaultRule[]): string {
  const told = rules.map(({ namespace, isDefaulted }) => ({ namespace, isDefaulted }));
  return `${JSON.stringify({ format: String(FORMAT), rules: told })}\n`;
}

/** Whether a pod gets a cap without asking for one, by that text. Throws Error when it is damaged. */
export function isDefaultedBy(content: string, namespace = ''): boolean {
  const { rules } = defaultRules(JSON.parse(content), '');
  return rules.find((rule) => isOfNamespace(rule.namespace, namespace))?.isDefaulted === true;
}
