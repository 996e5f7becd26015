// What a bug report needs to know of a node, collected: the helper's answers, the kernel's devices
// and what stands on them, files of podpace. What cannot be had is told of with its reason, so that
// a node in trouble can still be reported. Nothing is changed.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { HelperConfig } from './config.ts';
import { filtersAt } from './kernel/filters.ts';
import { listLinks } from './kernel/links.ts';
import { nodeIdentity } from './kernel/node-identity.ts';
import { openRt } from './kernel/open-rt.ts';
import { listQdiscs } from './kernel/qdiscs.ts';
import type { RtSocket } from './kernel/rtnetlink.ts';
import { readSysctl } from './kernel/sysctl.ts';
import { queryTcxLinks } from './kernel/tcx.ts';
import { namesPodpace } from './network-list/edit.ts';
import { isConfName } from './network-list/plan.ts';
import { withoutSecrets } from './redact.ts';
import { VERSION } from './version.ts';
import { decodeBpfFilterOptions } from './wire/tc-message.ts';
import { decodeFqOptions } from './wire/fq.ts';

/** Of the form of a report: it grows when a field's meaning changes, not when one is added. */
export const REPORT_FORMAT = 1;

/** What the helper is asked for, by the field of the report. */
export type Questions = Readonly<Record<string, () => Promise<unknown>>>;

/** Where lists of networks are when the configuration does not say. */
const USUAL_CONF_DIR = '/etc/cni/net.d';

/** Parameters that decide what becomes of packets and their times. */
const SYSCTLS = [
  ...['kernel/unprivileged_bpf_disabled', 'net/core/bpf_jit_enable', 'net/core/default_qdisc'],
  ...['net/core/qdisc_max_burst', 'net/ipv4/ip_forward', 'net/ipv4/conf/all/rp_filter'],
  ...['net/ipv4/tcp_congestion_control', 'net/ipv4/tcp_ecn', 'net/ipv4/tcp_limit_output_bytes'],
  'net/ipv6/conf/all/forwarding',
];

/** Lines of the kernel's log that may be about podpace. */
const KERNEL_LOG_LINE = /podpace|\bbpf\b|\bfq\b|qdisc|tstamp|WARNING:|BUG:|Out of memory/i;
const KERNEL_LOG_LINES = 200;
/** The longest record that /dev/kmsg gives (Documentation/ABI/testing/dev-kmsg). */
const KERNEL_RECORD_BYTES = 8192;

/** What was found, or why it could not be. */
async function attempt(look: () => unknown): Promise<unknown> {
  try {
    return await look();
  } catch (error) {
    return { error: (error as Error).message };
  }
}

/** Each of them by its name, one after the other. */
async function attempts(looks: Questions): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  for (const [name, look] of Object.entries(looks)) found[name] = await attempt(look);
  return found;
}

function fileIfThere(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function nodeOf(): object {
  const [total, free] = [os.totalmem(), os.freemem()];
  return {
    ...{ hostName: os.hostname(), kernel: os.release(), kernelVersion: os.version() },
    ...{ architecture: os.arch(), cpus: os.availableParallelism() },
    ...{ memoryBytes: total, freeMemoryBytes: free, upSeconds: Math.round(os.uptime()) },
    distribution: /^PRETTY_NAME="?([^"\n]*)/m.exec(fileIfThere('/etc/os-release') ?? '')?.[1],
    node: process.version,
    ...nodeIdentity(),
  };
}

async function filtersOf(rt: RtSocket, ifindex: number): Promise<object[]> {
  const found: object[] = [];
  for (const hook of ['ingress', 'egress'] as const)
    for (const { kind, options, ...place } of await filtersAt(rt, ifindex, hook))
      found.push({ hook, kind, ...place, ...(kind === 'bpf' && decodeBpfFilterOptions(options)) });
  return found;
}

function tcxOf(ifindex: number): object[] {
  return (['ingress', 'egress'] as const).flatMap((hook) =>
    queryTcxLinks(ifindex, hook).map((program) => ({ hook, ...program })),
  );
}

/** Every device, with its qdiscs and the programs at its hooks. */
async function devices(): Promise<object[]> {
  const rt = openRt();
  try {
    const qdiscs = (await listQdiscs(rt)).map(({ options, ...qdisc }) => ({
      ...qdisc,
      ...(qdisc.kind === 'fq' ? { fq: decodeFqOptions(options) } : {}),
    }));
    const found: object[] = [];
    for (const link of await listLinks(rt)) {
      found.push({
        ...link,
        qdiscs: qdiscs.filter(({ ifindex }) => ifindex === link.index),
        filters: await attempt(() => filtersOf(rt, link.index)),
        tcx: await attempt(() => tcxOf(link.index)),
      });
    }
    return found;
  } finally {
    rt.close();
  }
}

function sysctlOf(name: string): unknown {
  try {
    return readSysctl(name);
  } catch (error) {
    return { error: (error as Error).message };
  }
}

/** Files below a directory, with their sizes. */
function filesBelow(directory: string): object[] {
  return fs
    .readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => {
      const file = path.join(entry.parentPath, entry.name);
      const { size, mtime, mode } = fs.lstatSync(file);
      return { file, bytes: size, changedAt: mtime.toISOString(), mode: mode.toString(8) };
    });
}

/** What the text of a list says, without its secrets. */
function listOf(text: string): unknown {
  try {
    return withoutSecrets(JSON.parse(text) as unknown);
  } catch (error) {
    return { error: (error as Error).message };
  }
}

/** Names of all lists of networks in a directory, and what those say that podpace is in. */
function networkLists(directory: string): object {
  const names = fs.readdirSync(directory).filter(isConfName);
  return {
    directory,
    lists: names.toSorted().map((name) => {
      const text = fs.readFileSync(path.join(directory, name), 'utf8');
      return { name, ...(namesPodpace(text) && { content: listOf(text) }) };
    }),
  };
}

/** The lines of the kernel's log that may be about podpace, the last ones. */
function kernelLog(): string[] {
  const fd = fs.openSync('/dev/kmsg', fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  const record = Buffer.alloc(KERNEL_RECORD_BYTES);
  const lines: string[] = [];
  try {
    for (;;) {
      const length = readRecord(fd, record);
      if (length === undefined) return lines.slice(-KERNEL_LOG_LINES);
      const line = record.toString('utf8', 0, length).split('\n', 1)[0] ?? '';
      if (KERNEL_LOG_LINE.test(line)) lines.push(line);
    }
  } finally {
    fs.closeSync(fd);
  }
}

/** One record; undefined when there is no further one, 0 where some were overwritten meanwhile. */
function readRecord(fd: number, record: Buffer): number | undefined {
  try {
    return fs.readSync(fd, record, 0, record.length, null);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EPIPE') return 0;
    if (code === 'EAGAIN') return undefined;
    throw error;
  }
}

/**
 * Everything that is known of this node. `questions`: what its helper is asked. `progress` is told
 * what comes next. Never throws for what it finds.
 */
export async function reportOf(
  config: HelperConfig,
  questions: Questions,
  progress: (what: string) => void,
): Promise<object> {
  progress('asking the helper');
  const helper = await attempts(questions);
  progress("looking at the kernel's devices");
  const kernel = await attempts({
    devices: async () => devices(),
    parameters: async () => Object.fromEntries(SYSCTLS.map((name) => [name, sysctlOf(name)])),
    log: async () => kernelLog(),
  });
  progress("looking at podpace's files");
  const files = await attempts({
    records: async () => filesBelow(config.stateDir),
    pins: async () => filesBelow(config.pinDir),
    networkLists: async () => networkLists(config.cniConfDir || USUAL_CONF_DIR),
  });
  return {
    ...{ format: REPORT_FORMAT, podpaced: VERSION, madeAt: new Date().toISOString() },
    ...{ node: await attempt(nodeOf), configuration: config, helper, kernel, files },
  };
}
