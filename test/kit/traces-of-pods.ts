// What pods leave on a node, as lines: taken before they come and after they have gone.

import { capture } from '../../scripts/lib/process.ts';
import type { TestBed } from '../bed/testbed.ts';

/** What stays though they go: the bridge, and what host-local keeps beside addresses in use. */
const STAYING = /\bcni0\b|\/(lock|last_reserved_ip\.0)$/;

const FOLDERS = '/sys/fs/bpf /run/podpace /var/lib/cni';

/**
 * Devices, addresses, routes, qdiscs, namespaces of pods, pins, records, addresses in use and what
 * libcni keeps of results.
 */
export async function tracesOfPods(bed: Pick<TestBed<string>, 'onNode'>): Promise<string[]> {
  const commands = [
    'ip -o link',
    'ip -4 -o address',
    'ip -4 route',
    'tc qdisc',
    'find /run/netns -name "cni-*"',
    `find ${FOLDERS} -name addons -prune -o ! -type d -print`,
  ];
  const lines = (await capture(...bed.onNode('sh', '-c', commands.join(' && ')))).split('\n');
  return lines.filter((line) => !STAYING.test(line)).toSorted();
}
