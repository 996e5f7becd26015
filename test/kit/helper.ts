// A podpaced of the test's own: the built executable, in a namespace that plays the node, with
// private directories.

import fs from 'node:fs';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import {
  keyOf,
  type AttachParams,
  type Caps,
  type Method,
  type Methods,
} from '../../helper/protocol/messages.ts';
import { ensureBpffs } from '../../helper/kernel/bpffs.ts';
import { podOf } from '../../helper/protocol/pod-names.ts';
import { RECORD_VERSION, type PodOfRecord } from '../../helper/protocol/record-text.ts';
import { formatRecord, type AttachmentRecord } from '../../helper/shaping/record-schema.ts';
import { PODPACED, startHelper } from '../bed/helper.ts';
import { inNamespace, type TestBed } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { askSocket } from './ask.ts';
import type { TestNetns } from './netns.ts';

let started = 0;

export interface TestHelper {
  readonly socket: string;
  readonly stateDir: string;
  readonly pinDir: string;
  readonly pid: number;
  /** Everything it wrote. */
  log(): string;
  ask<M extends Method>(method: M, params: Methods[M]['params']): Promise<Methods[M]['result']>;
  /** Sends a signal and waits for the end. */
  end(signal: NodeJS.Signals): Promise<void>;
}

/** Directories for one helper and its successors, gone after the test. */
export interface HelperDirectories {
  readonly run: string;
  readonly pins: string;
}

export function makeHelperDirectories(t: Pick<ExecutionContext, 'teardown'>): HelperDirectories {
  // Not by a flag: helpers of former releases know none.
  ensureBpffs('/sys/fs/bpf');
  started += 1;
  const run = `/tmp/pp-${process.pid}-${started}`;
  const pins = `/sys/fs/bpf/pp-${process.pid}-${started}`;
  t.teardown(() => {
    fs.rmSync(run, { recursive: true, force: true });
    fs.rmSync(pins, { recursive: true, force: true });
  });
  fs.mkdirSync(run);
  return { run, pins };
}

/** Flags of podpaced's commands that name the places of a helper with such directories. */
export function placeFlags({ run, pins }: HelperDirectories): string[] {
  const [socket, stateDir] = [path.join(run, 'helper.sock'), path.join(run, 'state')];
  return ['--socket', socket, '--state-dir', stateDir, '--pin-dir', pins];
}

/** Starts a helper with such directories, and with flags of `podpaced run`. */
export async function startOwnHelper(
  t: Pick<ExecutionContext, 'teardown'>,
  node: Pick<TestNetns, 'name'>,
  directories: HelperDirectories,
  flags: readonly string[] = [],
  podpaced = PODPACED,
): Promise<TestHelper> {
  const socket = path.join(directories.run, 'helper.sock');
  const stateDir = path.join(directories.run, 'state');
  const settings = placeFlags(directories);
  const onNode: TestBed<string>['onNode'] = (...command) =>
    inNamespace(`/run/netns/${node.name}`, ...command);
  const undo = UndoStack.of(t);
  const helper = await startHelper({ onNode }, undo, undefined, [...settings, ...flags], podpaced);
  // At once, whatever state the test has left it in.
  undo.defer('kill podpaced', () => helper.end('SIGKILL'));
  return {
    ...{ socket, stateDir, pinDir: directories.pins, pid: helper.pid },
    log: () => helper.output,
    ask: (method, params) => askSocket(socket, method, params),
    end: (signal) => helper.end(signal),
  };
}

/**
 * A pod that no plugin has added: the pair of interfaces that one leaves, `name` on the node and
 * `eth0` in a sandbox of its own.
 */
export function wirePod(node: TestNetns, sandbox: TestNetns, name: string): void {
  node.ipBatch(
    `link add ${name} type veth peer name eth0 netns ${sandbox.name}`,
    `link set ${name} up`,
  );
  sandbox.ip('link', 'set', 'eth0', 'up');
}

/**
 * Leaves the record of an attachment for a helper that is started later, as a former one would
 * have. That helper has it in its maps and programs also where a kernel without sch_fq would refuse
 * to attach it. Returns the ifindex.
 */
export function leaveRecord(
  node: Pick<TestNetns, 'ipJson'>,
  directories: HelperDirectories,
  params: AttachParams & PodOfRecord,
): number {
  const shown = node.ipJson('link', 'show', 'dev', params.hostInterface);
  const hostInterfaceIndex = Number(shown[0]?.['ifindex']);
  writeRecord(directories, params, hostInterfaceIndex);
  return hostInterfaceIndex;
}

/** The same of many attachments with one look at the node. Returns their ifindexes in order. */
export function leaveRecords(
  node: TestNetns,
  directories: HelperDirectories,
  attachments: readonly AttachParams[],
): number[] {
  const indexes = new Map(
    node.ipJson('link', 'show').map((link) => [link['ifname'], link['ifindex']]),
  );
  return attachments.map((params) => {
    const hostInterfaceIndex = Number(indexes.get(params.hostInterface));
    writeRecord(directories, params, hostInterfaceIndex);
    return hostInterfaceIndex;
  });
}

function writeRecord(
  { run }: HelperDirectories,
  { caps, ...params }: AttachParams & PodOfRecord,
  hostInterfaceIndex: number,
): void {
  const record: AttachmentRecord = {
    ...params,
    caps,
    hostInterfaceIndex,
    ...(caps.egress === undefined ? {} : { egressAggregateId: 5000 + 2 * hostInterfaceIndex }),
    ...(caps.ingress === undefined ? {} : { ingressAggregateId: 5001 + 2 * hostInterfaceIndex }),
  };
  const directory = path.join(run, 'state', 'attachments');
  fs.mkdirSync(directory, { recursive: true });
  const file = path.join(directory, `${keyOf(params)}.json`);
  // Without a checksum, as the first release wrote them; names came later, and are not taken
  // without.
  const former = JSON.stringify({ recordVersion: RECORD_VERSION, ...record });
  fs.writeFileSync(
    file,
    podOf(record) === undefined ? former : formatRecord('attachments', record),
  );
}

/** Parameters of an attach or check. */
export function paramsOf(hostInterface: string, sandbox: TestNetns, caps: Caps): AttachParams {
  const key = { containerId: `c-${hostInterface}`, ifname: 'eth0', network: 'pods' };
  return { ...key, hostInterface, sandbox: `/run/netns/${sandbox.name}`, caps };
}

/** A veth pair that joins node and peer as the node's uplink, with a default route through it. */
export function addUplink(node: TestNetns, peer: TestNetns, name: string, queues: number): void {
  const end = `name ${name} numtxqueues ${queues} numrxqueues ${queues}`;
  node.ip(...`link add ${end} type veth peer ${end} netns ${peer.name}`.split(' '));
  peer.ipBatch(`address add 198.51.100.2/24 dev ${name}`, `link set ${name} up`);
  node.ipBatch(
    `address add 198.51.100.1/24 dev ${name}`,
    `link set ${name} up`,
    'route add default via 198.51.100.2',
  );
}
