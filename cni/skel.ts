// The frame every CNI plugin stands in: environment, stdin, versions, error object. Order, codes
// and texts are those of the reference library (containernetworking/cni, pkg/skel), because
// runtimes and their users know them.

import type { PodNames } from '../helper/protocol/messages.ts';
import { CNI_NAME } from '../helper/protocol/names.ts';
import { printable } from '../helper/protocol/printable.ts';
import { note, type Edges, type Environment } from './edges.ts';
import { toCniError } from './failure.ts';
import { field, parseJson, show } from './json.ts';
import { nameOfCall, podNamesIn } from './pod-names.ts';
import {
  CniError,
  CURRENT_VERSION,
  DelegateError,
  ErrorCode,
  isJsonObject,
  SUPPORTED_VERSIONS,
  type CniVersion,
  type JsonObject,
} from './types.ts';
import { atLeast, parseVersion } from './versions.ts';

/** The commands that do something with a network configuration. */
export type Command = 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'STATUS';

/** A validated call. Variables that a command does not need are the empty string when absent. */
export interface Invocation {
  readonly containerId: string;
  readonly netns: string;
  readonly ifname: string;
  readonly path: string;
  /** Of CNI_ARGS. */
  readonly pod: PodNames;
  /** True when CNI_NETNS_OVERRIDE allows the plugin's own namespace as the pod's. */
  readonly netnsOverride: boolean;
  /** stdin, byte for byte. */
  readonly stdin: Buffer;
  readonly config: JsonObject;
  readonly network: string;
  readonly cniVersion: CniVersion;
}

/** One command: returns what goes to stdout, or nothing. */
type CommandFunction = (edges: Edges, call: Invocation) => Promise<JsonObject | undefined>;

/** Every command, behind a function that loads its code. */
export type CommandTable = Readonly<Record<Command, () => Promise<CommandFunction>>>;

/** Largest network configuration accepted, in bytes. */
export const MAX_STDIN_BYTES = 1024 * 1024;

/** Oldest spec version that knows the command. */
const INTRODUCED = { CHECK: '0.4.0', GC: '1.1.0', STATUS: '1.1.0' } as const;

const COMMANDS: readonly string[] = [
  'ADD',
  'DEL',
  'CHECK',
  'GC',
  'STATUS',
] satisfies readonly Command[];

function isCommand(command: string): command is Command {
  return COMMANDS.includes(command);
}

interface Variable {
  readonly name: string;
  readonly requiredFor: readonly string[];
  readonly validate?: (value: string) => void;
}

const ATTACHMENT_COMMANDS = ['ADD', 'CHECK', 'DEL'];

const VARIABLES: readonly Variable[] = [
  { name: 'CNI_CONTAINERID', requiredFor: ATTACHMENT_COMMANDS, validate: validateContainerId },
  { name: 'CNI_NETNS', requiredFor: ['ADD', 'CHECK'] },
  { name: 'CNI_IFNAME', requiredFor: ATTACHMENT_COMMANDS, validate: validateInterfaceName },
  { name: 'CNI_PATH', requiredFor: [...ATTACHMENT_COMMANDS, 'GC', 'STATUS'] },
];

function environmentError(message: string, details?: string): CniError {
  return new CniError(ErrorCode.invalidEnvironment, message, details);
}

function validateContainerId(id: string): void {
  if (!CNI_NAME.test(id)) throw environmentError('invalid characters in containerID', id);
}

/** Rules of the kernel's dev_valid_name, in the order in which the reference library tells them. */
export function validateInterfaceName(name: string): void {
  if (name === '') throw environmentError('interface name is empty');
  if (Buffer.byteLength(name) > 15) {
    throw environmentError(
      'interface name is too long',
      'interface name should be less than 16 characters',
    );
  }
  if (name === '.' || name === '..') throw environmentError('interface name is . or ..');
  if (/[/:\s\u0085]/u.test(name)) {
    throw environmentError('interface name contains / or : or whitespace characters');
  }
}

function validateEnvironment(env: Environment, command: string): void {
  const missing: string[] = [];
  for (const { name, requiredFor, validate } of VARIABLES) {
    if (!requiredFor.includes(command)) continue;
    const value = env[name] ?? '';
    if (value === '') missing.push(name);
    else validate?.(value);
  }
  if (missing.length > 0)
    throw environmentError(`required env variables [${missing.join(',')}] missing`);
}

async function readConfig(edges: Edges): Promise<Buffer> {
  const stdin = await edges.readStdin(MAX_STDIN_BYTES).catch((error: unknown) => {
    throw new CniError(
      ErrorCode.ioFailure,
      `error reading from stdin: ${(error as Error).message}`,
    );
  });
  if (stdin.length <= MAX_STDIN_BYTES) return stdin;
  throw new CniError(
    ErrorCode.ioFailure,
    `error reading from stdin: the network configuration is larger than ${MAX_STDIN_BYTES} bytes`,
    'shorten the configuration or prevResult',
  );
}

function decodingError(message: string): CniError {
  return new CniError(ErrorCode.decodingFailure, `error unmarshall network config: ${message}`);
}

function decodeConfig(stdin: Buffer): JsonObject {
  if (stdin.length === 0)
    throw decodingError('stdin is empty, a network configuration was expected');
  let config: unknown;
  try {
    config = parseJson(stdin.toString('utf8'));
  } catch (error) {
    throw decodingError((error as Error).message);
  }
  if (!isJsonObject(config)) throw decodingError(`${show(config)} is not an object`);
  for (const key of ['name', 'cniVersion']) {
    const value = field(config, key);
    if (value !== undefined && value !== null && typeof value !== 'string') {
      throw decodingError(`${key} is ${show(value)}, not a string`);
    }
  }
  return config;
}

function networkName(config: JsonObject): string {
  const name = field(config, 'name');
  if (typeof name !== 'string' || name === '') {
    throw new CniError(ErrorCode.invalidConfig, 'missing network name');
  }
  if (!CNI_NAME.test(name)) {
    throw new CniError(ErrorCode.invalidConfig, 'invalid characters found in network name', name);
  }
  return name;
}

/** The version of the configuration; the specification says what its absence means. */
function configuredVersion(config: JsonObject): string {
  const version = field(config, 'cniVersion');
  return typeof version === 'string' && version !== '' ? version : '0.1.0';
}

function incompatible(message: string, details?: string): CniError {
  return new CniError(ErrorCode.incompatibleVersion, message, details);
}

/** The version, when the plugin supports it and it has the command. Throws CniError 1 or 6. */
function requireVersion(version: string, command: Command): CniVersion {
  if (command === 'CHECK' || command === 'GC' || command === 'STATUS') {
    const parsed = parseVersion(version);
    if (parsed === undefined) {
      throw new CniError(ErrorCode.decodingFailure, `cniVersion ${show(version)} is not a version`);
    }
    if (!atLeast(version, INTRODUCED[command])) {
      throw incompatible(`config version does not allow ${command}`);
    }
    if (!atLeast(CURRENT_VERSION, version))
      throw incompatible(`plugin version does not allow ${command}`);
  }
  const supported = SUPPORTED_VERSIONS.find((candidate) => candidate === version);
  if (supported !== undefined) return supported;
  const list = SUPPORTED_VERSIONS.map((candidate) => `"${candidate}"`).join(' ');
  throw incompatible(
    'incompatible CNI versions',
    `config is "${version}", plugin supports [${list}]`,
  );
}

/** Reads and validates everything about a call that does not need its command's code. */
async function readCall(
  edges: Edges,
  command: string,
): Promise<{ command: Command; invocation: Invocation }> {
  const { env } = edges;
  const stdin = await readConfig(edges);
  const config = decodeConfig(stdin);
  const network = networkName(config);
  if (!isCommand(command)) throw environmentError(`unknown CNI_COMMAND: ${command}`);
  const override = env['CNI_NETNS_OVERRIDE'] ?? '';
  const invocation = {
    containerId: env['CNI_CONTAINERID'] ?? '',
    netns: env['CNI_NETNS'] ?? '',
    ifname: env['CNI_IFNAME'] ?? '',
    path: env['CNI_PATH'] ?? '',
    pod: podNamesIn(env['CNI_ARGS'] ?? ''),
    netnsOverride: override.toUpperCase() === 'TRUE' || override === '1',
    stdin,
    config,
    network,
    cniVersion: requireVersion(configuredVersion(config), command),
  };
  return { command, invocation };
}

function requireRoot(edges: Edges, command: Command): void {
  if (edges.euid === 0) return;
  throw new CniError(
    ErrorCode.notRoot,
    `Cannot run ${command}: podpace runs as user ${edges.euid}, not as root`,
    'let the container runtime run it, or use sudo',
  );
}

/** Prints one JSON object; false when nobody reads stdout any more. */
function print(edges: Edges, object: JsonObject): boolean {
  try {
    // JSON.stringify leaves DEL, C1 and bidirectional controls as they are.
    const lines = JSON.stringify(object, null, 4).split('\n').map(printable);
    edges.writeStdout(`${lines.join('\n')}\n`);
    return true;
  } catch (error) {
    note(edges, `Cannot print the answer: ${(error as Error).message}`);
    return false;
  }
}

/** The details of an error with the attachment that the call is about, where one is known. */
function withSubject(
  { about }: Edges,
  message: string,
  details: string | undefined,
): string | undefined {
  const parts = details === undefined ? [] : [details];
  const isNamed = about === undefined || [message, ...parts].some((text) => text.includes(about));
  return isNamed ? details : [...parts, `attachment ${about}`].join('; ');
}

/** Prints an error object, whatever the error; the words of a delegate stay its own. */
export function printError(
  edges: Edges,
  error: unknown,
  cniVersion: CniVersion = CURRENT_VERSION,
): void {
  const { code, message, details: own } = toCniError(error);
  const details = error instanceof DelegateError ? own : withSubject(edges, message, own);
  const explained = details === undefined ? {} : { details: printable(details) };
  print(edges, { cniVersion, code, msg: printable(message), ...explained });
}

/**
 * Runs the plugin once and returns its exit status. Whatever happens, stdout gets at most one JSON
 * object, and exactly one when the status is not 0 (unless stdout itself is broken).
 */
export async function runPlugin(edges: Edges, table: CommandTable, about: string): Promise<number> {
  const command = edges.env['CNI_COMMAND'] ?? '';
  if (command === '') {
    edges.writeStderr(
      `${about}\nCNI protocol versions supported: ${SUPPORTED_VERSIONS.join(', ')}\n`,
    );
    return 0;
  }
  if (command === 'VERSION') {
    return print(edges, { cniVersion: CURRENT_VERSION, supportedVersions: SUPPORTED_VERSIONS })
      ? 0
      : 1;
  }
  let cniVersion: CniVersion = CURRENT_VERSION;
  let own = edges;
  try {
    validateEnvironment(edges.env, command);
    const call = await readCall(edges, command);
    cniVersion = call.invocation.cniVersion;
    requireRoot(edges, call.command);
    if (ATTACHMENT_COMMANDS.includes(command))
      own = { ...edges, about: nameOfCall(call.invocation) };
    const run = await table[call.command]();
    const answer = await run(own, call.invocation);
    return answer === undefined || print(own, answer) ? 0 : 1;
  } catch (error) {
    printError(own, error, cniVersion);
    return 1;
  }
}
