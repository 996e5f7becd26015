// Where the node itself takes packets: control group ingress, which all sockets of the machine
// meet. One program of podpace's stands there, at the root that the node's processes are under, by
// a pinned BPF link that outlives the helper.

import fs from 'node:fs';
import path from 'node:path';
import { BpfAttr, COMMAND, LINK_CREATE } from './bpf-attr.ts';
import { pinObject } from './bpf.ts';
import { KernelError, unlessErrno } from '../wire/errors.ts';
import { networkNamespaceCookie } from './ffi.ts';
import { memberOffsets } from '../wire/kernel-types.ts';
import { NODE_PLACE, type NodePlace } from '../wire/node-place.ts';
import type { AttachableProgram } from './hook-places.ts';
import { closing } from './descriptors.ts';
import { readMounts } from './mounts.ts';
import { openIfPinned } from './pins.ts';
import { LINK_INFO, readLinkInfo, updateLink } from './tcx.ts';
import type { TypedMap } from './typed-map.ts';

/** Name of the link's pin, among those of devices' hooks. */
export const NODE_LINK = 'node';

/** `enum bpf_attach_type` of linux/bpf.h. */
const BPF_CGROUP_INET_INGRESS = 0;
/** The types of the running kernel (CONFIG_DEBUG_INFO_BTF). */
const KERNEL_TYPES = '/sys/kernel/btf/vmlinux';
/** Index of the one value of the map node_place. */
const ONLY = 0;

/** Inode of the root of all control groups: the first that the kernel makes there. */
const ROOT_INODE = 1;

/**
 * Mounts of cgroup v2 that process 1 has, and then our own, as far as we may enter them, with the
 * inode of each.
 */
function groupMounts(): { readonly directory: string; readonly inode: number }[] {
  return [
    { pid: 1, root: '/proc/1/root' },
    { pid: undefined, root: '' },
  ].flatMap(({ pid, root }) => {
    const groups = (): { readonly directory: string; readonly inode: number }[] =>
      readMounts(pid)
        .filter(({ fileSystem }) => fileSystem === 'cgroup2')
        .map(({ mountPoint }) => `${root}${mountPoint}`)
        .map((directory) => ({ directory, inode: fs.statSync(directory).ino }));
    return unlessErrno(['EACCES', 'EPERM', 'ENOENT'], groups) ?? [];
  });
}

/**
 * Directory of the control group that the node's processes are under. A container sees no more than
 * its own, so it is the root of all, or, on a node that is a container itself, the one that process
 * 1 sees. Throws KernelError ENOENT without cgroup v2.
 */
function rootGroup(): string {
  const mounts = groupMounts();
  const found = mounts.find(({ inode }) => inode === ROOT_INODE) ?? mounts[0];
  if (found !== undefined) return found.directory;
  throw new KernelError(
    'find the root of all control groups',
    'ENOENT',
    'cgroup v2 is not mounted',
  );
}

/** The id of a link's control group is 0 once somebody has detached it. */
function readLink(fd: number): { readonly programId: number; readonly isAttached: boolean } {
  const info = readLinkInfo(fd);
  return {
    programId: info.readUInt32LE(LINK_INFO.progId),
    isAttached: info.readBigUInt64LE(LINK_INFO.cgroupId) !== 0n,
  };
}

/**
 * Value of the map node_place for the namespace that the calling thread is in. Throws KernelError
 * when it cannot be told.
 */
function nodePlace(): NodePlace {
  const operation = "tell the node's sockets from those of pods";
  const netnsCookie = networkNamespaceCookie();
  if (netnsCookie === undefined)
    throw new KernelError(operation, 'ENOPROTOOPT', 'no SO_NETNS_COOKIE');
  if (!fs.existsSync(KERNEL_TYPES))
    throw new KernelError(operation, 'ENOENT', `no ${KERNEL_TYPES}`);
  const [netnsOffset, cookieOffset] = memberOffsets(fs.readFileSync(KERNEL_TYPES), [
    { struct: 'sock_common', member: 'skc_net' },
    { struct: 'net', member: 'net_cookie' },
  ]);
  if (netnsOffset === undefined || cookieOffset === undefined)
    throw new KernelError(operation, 'ENOENT', 'its types have no net_cookie');
  return { netnsCookie, netnsOffset, cookieOffset };
}

export class NodeHook {
  readonly #directory: string;
  readonly #placeMap: TypedMap<number, NodePlace>;
  #place: NodePlace | undefined;

  /** `directory` is one on bpffs, for the pin; `placeMap` the map node_place. */
  constructor(directory: string, placeMap: TypedMap<number, NodePlace>) {
    this.#directory = directory;
    this.#placeMap = placeMap;
  }

  get #pin(): string {
    return path.join(this.#directory, NODE_LINK);
  }

  /** Descriptor of the link when it still stands. */
  #open(): { readonly fd: number; readonly programId: number } | undefined {
    const fd = openIfPinned(this.#pin);
    if (fd === undefined) return undefined;
    const { programId, isAttached } = readLink(fd);
    if (isAttached) return { fd, programId };
    fs.closeSync(fd);
    return undefined;
  }

  /**
   * Id of the program that stands there; undefined when there is none, or it would not know the
   * node.
   */
  programId(): number | undefined {
    const link = this.#open();
    if (link === undefined) return undefined;
    fs.closeSync(link.fd);
    this.#place ??= nodePlace();
    const found = NODE_PLACE.encode(this.#placeMap.at(ONLY));
    return found.equals(NODE_PLACE.encode(this.#place)) ? link.programId : undefined;
  }

  /** Whether a link is pinned, whatever it stands for. */
  isThere(): boolean {
    return fs.existsSync(this.#pin);
  }

  /** Puts the program there, in place of podpace's former one without a gap. Throws KernelError. */
  attach(program: AttachableProgram): void {
    this.#place ??= nodePlace();
    this.#placeMap.set(ONLY, this.#place);
    const former = this.#open();
    if (former !== undefined) {
      closing(former.fd, (link) => updateLink(link, program.fd));
      return;
    }
    closing(fs.openSync(rootGroup(), 'r'), (group) => {
      const link = new BpfAttr()
        .u32(LINK_CREATE.progFd, program.fd)
        .u32(LINK_CREATE.targetFd, group)
        .u32(LINK_CREATE.attachType, BPF_CGROUP_INET_INGRESS)
        .call('attach a program to the root of all control groups', COMMAND.LINK_CREATE);
      fs.mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
      // That of a link which somebody has detached.
      fs.rmSync(this.#pin, { force: true });
      closing(link, (fd) => pinObject(fd, this.#pin));
    });
  }

  /** Takes the program away; does nothing when there is none. */
  detach(): void {
    fs.rmSync(this.#pin, { force: true });
    // The classifier goes by that, too: bpf/local.h.
    this.#placeMap.clear(ONLY);
  }
}
