// What tests might leave on a machine: compared before and after, anything new is a leak.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { SCRATCH_PREFIX } from './vm/run.ts';

/** Everything of the machine that a test could forget, by kind and name. */
export type MachineState = ReadonlySet<string>;

function namesIn(directory: string, kind: string): string[] {
  try {
    return fs.readdirSync(directory).map((name) => `${kind} ${directory}/${name}`);
  } catch {
    return [];
  }
}

/**
 * Processes that tests start, by what they are. A child that is ending is no leak: zombies have no
 * command line. Nor is a VM of this project's: other tests may be running in it.
 */
function helperProcesses(): string[] {
  return fs.readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const command = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      return /podpaced|iperf3|cnitool|qemu-system|virtiofsd|build\/runtimes/.test(command) &&
        !command.includes(SCRATCH_PREFIX)
        ? [`process ${pid} (${command})`]
        : [];
    } catch {
      return [];
    }
  });
}

/**
 * Devices that the kernel makes in every namespace when it loads the module of their kind, as it
 * does at the first tunnel of that kind. They stay for as long as the module does, and cannot be
 * deleted: nobody left them.
 */
const FALLBACK_LINKS: ReadonlySet<string> = new Set([
  'tunl0',
  'gre0',
  'gretap0',
  'erspan0',
  'ip_vti0',
  'ip6tnl0',
  'ip6gre0',
  'ip6_vti0',
  'sit0',
]);

function links(): string[] {
  return JSON.parse(execFileSync('ip', ['-j', 'link'], { encoding: 'utf8' })).map(
    ({ ifname }: { ifname: string }) => `link ${ifname}`,
  ) as string[];
}

/** Namespaces, links, pins, processes and files, as they are now. */
export function observeMachine(): MachineState {
  return new Set([
    ...namesIn('/run/netns', 'namespace'),
    ...namesIn('/sys/fs/bpf', 'pin'),
    ...namesIn('/run/podpace', 'file'),
    ...namesIn('/var/lib/cni/networks', 'file'),
    ...namesIn('/var/lib/cni/results', 'file'),
    ...namesIn('/tmp', 'file').filter((entry) => entry.includes('/tmp/pp-')),
    ...links(),
    ...helperProcesses(),
  ]);
}

/** What is there now and was not before, but for what only the kernel can take away. */
export function findLeaks(before: MachineState, after: MachineState): string[] {
  const staying = new Set([...FALLBACK_LINKS].map((name) => `link ${name}`));
  return [...after].filter((entry) => !before.has(entry) && !staying.has(entry));
}
