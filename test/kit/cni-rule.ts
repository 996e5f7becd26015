// A rule of the CNI specification as data: calls of a plugin, and what each has to come to. The
// same calls are made of podpace and of the plugin that it replaces.

import { isDeepStrictEqual } from 'node:util';
import { isJsonObject, type JsonObject } from '../../cni/types.ts';
import type { Method } from '../../helper/protocol/messages.ts';

/** How a plugin's process ended. */
export interface Ending {
  /** Null when a signal ended it. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a call has to come to. */
export interface Verdict {
  /** Code of the error object; `none` where stdout holds not just one; absent: exit status 0. */
  readonly code?: number | 'none';
  readonly msg?: string | RegExp;
  readonly details?: string | RegExp;
  /** What stdout holds; absent: nothing. Strings in it may be described by expressions. */
  readonly answer?: JsonObject;
  /** Absent: nothing is written there. */
  readonly stderr?: RegExp;
}

/** Success, and not a word. */
export const nothing: Verdict = {};

export const refusal = (
  code: number,
  msg: string | RegExp,
  more: Omit<Verdict, 'code' | 'msg' | 'answer'> = {},
): Verdict => ({ code, msg, ...more });

export const prints = (answer: JsonObject, stderr?: RegExp): Verdict => ({
  answer,
  ...(stderr && { stderr }),
});

/** Where a plugin is called. */
export interface Place {
  /** Paths of the network namespaces of node and pod. */
  readonly node: string;
  readonly sandbox: string;
  /** A folder of its own, that CNI_PATH begins with. */
  readonly directory: string;
  /** What the last ADD printed. */
  readonly result: JsonObject | undefined;
}

/** One call; what is absent is as usual (test/kit/cni-place.ts). */
export interface Call {
  readonly command?: string;
  /** Variables that differ; those that are undefined are not there. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Keys of the configuration that differ; those that are undefined are not there. */
  readonly config?: JsonObject | ((place: Place) => JsonObject);
  /** In the place of the configuration. */
  readonly stdin?: string;
  /** What happens before. */
  readonly before?: (place: Place) => void;
  readonly verdict: Verdict | ((place: Place) => Verdict);
  /** What podpace asks its helper for; absent: anything. */
  readonly asks?: readonly Method[];
  /** Caps that are in force afterwards, bit/s: podpace's at its helper, the reference's as TBFs. */
  readonly caps?: { readonly egress?: number; readonly ingress?: number };
  /**
   * Interfaces that the sandbox has afterwards, and addresses that host-local has reserved; absent:
   * any number.
   */
  readonly left?: number;
}

/** As what a plugin is called: behind another, or as the one that makes the interface. */
export type Role = 'chained' | 'main';

export interface Rule {
  /** Unique in its role. */
  readonly title: string;
  readonly role: Role;
  /** Where the verdicts come from. */
  readonly source: string;
  /** In this order, with one pod; without one where none is needed to refuse the call. */
  readonly calls: readonly Call[];
  readonly hasPod: boolean;
}

/** A call for which there need be no pod. */
export const frame = (title: string, source: string, call: Call, role: Role = 'chained'): Rule => ({
  ...{ title, role, source, calls: [call], hasPod: false },
});

/** Calls for one pod. */
export const withPod = (
  role: Role,
  title: string,
  source: string,
  ...calls: readonly Call[]
): Rule => ({ title, role, source, calls, hasPod: true });

/**
 * An empty dns says as much as none: the library of CNI 1.0.0 prints it, that of 1.1.0 does not.
 */
function withoutEmptyDns(object: JsonObject): JsonObject {
  const { dns, ...rest } = object;
  return isDeepStrictEqual(dns, {}) ? rest : object;
}

/** True when a value is the expected one, in which expressions stand for strings. */
function matches(found: unknown, expected: unknown): boolean {
  if (expected instanceof RegExp) return typeof found === 'string' && expected.test(found);
  if (Array.isArray(expected)) {
    return (
      Array.isArray(found) &&
      found.length === expected.length &&
      expected.every((each, index) => matches(found[index], each))
    );
  }
  if (!isJsonObject(expected)) return isDeepStrictEqual(found, expected);
  if (!isJsonObject(found)) return false;
  const [left, right] = [withoutEmptyDns(found), withoutEmptyDns(expected)];
  const keys = Object.keys(right);
  return (
    isDeepStrictEqual(Object.keys(left).toSorted(), keys.toSorted()) &&
    keys.every((key) => matches(left[key], right[key]))
  );
}

/** What stdout holds, where that is one object. */
export function objectIn({ stdout }: Pick<Ending, 'stdout'>): JsonObject | undefined {
  try {
    const object: unknown = JSON.parse(stdout);
    return isJsonObject(object) ? object : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Keys of an error object: code and msg always. Of cniVersion see the test of all error objects.
 */
const ERROR_KEYS = new Set(['cniVersion', 'code', 'msg', 'details']);

function isErrorObject(ending: Ending, { code, msg, details }: Verdict): boolean {
  const object = objectIn(ending);
  return (
    object !== undefined &&
    Object.keys(object).every((key) => ERROR_KEYS.has(key)) &&
    object['code'] === code &&
    matches(object['msg'], msg) &&
    // What one adds as a remedy, the other need not.
    (details === undefined || matches(object['details'], details))
  );
}

/** Whether an ending is what the verdict says: exit status, stdout and stderr. */
export function isAsSaid(ending: Ending, verdict: Verdict): boolean {
  const { status, stdout, stderr } = ending;
  const { code, answer } = verdict;
  if (!(verdict.stderr?.test(stderr) ?? stderr === '')) return false;
  if (code === 'none') return status !== 0 && objectIn(ending) === undefined;
  if (code !== undefined) return status === 1 && isErrorObject(ending, verdict);
  if (status !== 0) return false;
  return answer === undefined ? stdout === '' : matches(objectIn(ending), answer);
}

/** An ending in words, for a failing test. */
export const inWords = ({ status, stdout, stderr }: Ending): string =>
  `exit status ${status}, stdout ${JSON.stringify(stdout.slice(0, 2000))}, stderr ${JSON.stringify(stderr.slice(0, 500))}`;
