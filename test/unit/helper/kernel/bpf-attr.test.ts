// Where members of the kernel's structs for bpf(2) stand, by the C compiler and the headers that it
// has.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import * as attr from '../../../../helper/kernel/bpf-attr.ts';
import { MAP_INFO, PROG_INFO } from '../../../../helper/kernel/bpf.ts';
import { LINK_INFO } from '../../../../helper/kernel/tcx.ts';
import { compileHostProgram } from '../../../kit/host-program.ts';

type Offsets = Readonly<Record<string, number>>;

/** Structs of `union bpf_attr`; those of `UNNAMED` have no name there. */
const UNNAMED: Readonly<Record<string, Offsets>> = {
  MAP_CREATE: attr.MAP_CREATE,
  ELEMENT: attr.ELEMENT,
  PROG_LOAD: attr.PROG_LOAD,
  OBJ: attr.OBJ,
  GET_FD: attr.GET_FD,
  BTF_LOAD: attr.BTF_LOAD,
};
const NAMED: Readonly<Record<string, Offsets>> = {
  batch: attr.BATCH,
  test: attr.TEST,
  info: attr.INFO,
  query: attr.QUERY,
  link_create: attr.LINK_CREATE,
  link_update: attr.LINK_UPDATE,
  link_detach: attr.LINK_DETACH,
};

/** What headers of Linux 6.1 do not have yet stands in the place of, or right behind, another. */
const IN_OLD_HEADERS: Readonly<Record<string, string>> = {
  'union bpf_attr, query.target_ifindex': 'union bpf_attr, query.target_fd',
  'union bpf_attr, query.link_ids': 'union bpf_attr, query.prog_attach_flags) + sizeof(__u64',
  'struct bpf_link_info, ifindex': 'struct bpf_link_info, xdp.ifindex',
  'struct bpf_link_info, cgroup_id': 'struct bpf_link_info, cgroup.cgroup_id',
};

function inC(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Arguments of offsetof() with what they should be. */
function members(): [string, number][] {
  const of = (struct: string, prefix: string, offsets: Offsets): [string, number][] =>
    Object.entries(offsets).map(([name, offset]) => [`${struct}, ${prefix}${inC(name)}`, offset]);
  return [
    ...Object.values(UNNAMED).flatMap((offsets) => of('union bpf_attr', '', offsets)),
    ...Object.entries(NAMED).flatMap(([name, offsets]) =>
      of('union bpf_attr', `${name}.`, offsets),
    ),
    ...of('struct bpf_prog_info', '', PROG_INFO.offsets),
    ...of('struct bpf_map_info', '', MAP_INFO.offsets),
    ...of('struct bpf_link_info', '', LINK_INFO),
    ['union bpf_attr, next_key', attr.ELEMENT.value],
  ];
}

test('members of the attributes and infos of bpf(2) stand where linux/bpf.h says', (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `pp-${process.pid}-`));
  t.teardown(() => fs.rmSync(directory, { recursive: true }));
  const source = path.join(directory, 'offsets.c');
  const prints = members().map(
    ([member]) => `printf("%zu\\n", offsetof(${IN_OLD_HEADERS[member] ?? member}));`,
  );
  const includes = ['<linux/bpf.h>', '<stddef.h>', '<stdio.h>'].map((name) => `#include ${name}`);
  fs.writeFileSync(source, [...includes, 'int main(void) {', ...prints, '}', ''].join('\n'));
  const program = compileHostProgram(source);
  t.teardown(() => program.remove());
  const offsets = program.run([]).trim().split('\n').map(Number);
  t.deepEqual(
    members(),
    members().map(([member], index) => [member, offsets[index] ?? NaN]),
  );
});
