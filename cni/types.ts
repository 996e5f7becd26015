// The nouns of the CNI specification as podpace uses them, and the one error every failure becomes.

/**
 * Spec versions this plugin speaks, oldest first. 0.1.0 and 0.2.0 have no interfaces and cannot be
 * chained.
 */
export const SUPPORTED_VERSIONS = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;

export type CniVersion = (typeof SUPPORTED_VERSIONS)[number];

/** What VERSION answers as its own version: the newest result format it can print. */
export const CURRENT_VERSION: CniVersion = '1.1.0';

export { isJsonObject, type JsonObject } from '../helper/protocol/shape.ts';

export const DEVICES = ['veth', 'netkit', 'auto'] as const;

/** Which pair a pod gets; `auto`: netkit where the kernel has it. */
export type Device = (typeof DEVICES)[number];

/**
 * Codes of the error objects podpace prints. 1 to 99 are the specification's, 100 and up its own.
 *
 * Each with when, and in brackets what the runtime may do:
 *
 * - 1: cniVersion not supported, or too old for CHECK, GC, STATUS (nothing: configuration)
 * - 4: a CNI_* variable is missing or wrong, the namespace of CNI_NETNS is gone, a variable names
 *   an unknown command (nothing)
 * - 5: stdin cannot be read, or is larger than 1 MiB (nothing)
 * - 6: stdin, or a delegate's answer, is not the JSON it must be (nothing)
 * - 7: the configuration is wrong: caps, prevResult, ipam, mtu, a plugin that is not in CNI_PATH
 *   (nothing)
 * - 8: CNI_NETNS is the node's own namespace (nothing)
 * - 11: the helper is absent, refuses, is silent or busy (try again later)
 * - 50: STATUS: the helper is away for longer than it may, or the kernel holds no cap, so pods with
 *   caps cannot be added (wait)
 * - 100: this node cannot enforce the cap (change the node, or `onUnenforceable`)
 * - 101: the helper speaks another protocol version, or no protocol at all (install one release)
 * - 102: the kernel refused an operation, or no directory could take the native addons; the text
 *   keeps errno and words (see text)
 * - 103: something that must be there is missing or different: what ADD made (CHECK), or the pod's
 *   interface (DEL, then ADD)
 * - 104: the pod's interface has no host interface (macvlan, ipvlan and others) (use another
 *   plugin)
 * - 105: the interface exists already (DEL first)
 * - 106: not root (run as root)
 * - 107: stopped by SIGTERM; what was done is undone (try again)
 * - 999: anything else: a defect of podpace or of a delegate (report it)
 *
 * A delegated plugin's error is passed on with its own code and text.
 */
export const ErrorCode = {
  incompatibleVersion: 1,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  invalidConfig: 7,
  invalidNetns: 8,
  tryAgainLater: 11,
  notAvailable: 50,
  unenforceable: 100,
  helperProtocol: 101,
  kernelRefused: 102,
  checkFailed: 103,
  noHostInterface: 104,
  interfaceExists: 105,
  notRoot: 106,
  stopped: 107,
  internal: 999,
} as const;

/**
 * An error as the specification wants it printed: code, message, and details that say what to do.
 */
export class CniError extends Error {
  override readonly name = 'CniError';
  readonly code: number;
  readonly details: string | undefined;

  constructor(code: number, message: string, details?: string) {
    super(message);
    this.code = code;
    this.details = details === '' ? undefined : details;
  }
}

/** What a delegate says itself of why it did nothing: it is passed on as it is. */
export class DelegateError extends CniError {}
