// Structs of BPF objects by the names of their members in C: where each stands is what the compiler
// has said of it (BTF).

import fs from 'node:fs';
import { parseBpfObject } from '../../helper/wire/bpf-object.ts';
import {
  parseBtf,
  resolveType,
  sizeOfType,
  type BtfStruct,
  type BtfTypes,
} from '../../helper/wire/btf.ts';

/**
 * Numbers by the names of their members, those of a struct in a struct with a dot between; an array
 * is its bytes in hex.
 */
export type Members = Readonly<Record<string, bigint | string>>;

interface Leaf {
  readonly name: string;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  readonly isArray: boolean;
}

function leavesOf(types: BtfTypes, { members }: BtfStruct, prefix = '', baseBytes = 0): Leaf[] {
  return members.flatMap((member) => {
    const type = resolveType(types, member.typeId);
    const name = `${prefix}${member.name}`;
    const offsetBytes = baseBytes + member.offsetBytes;
    if (type.kind === 'struct') return leavesOf(types, type, `${name}.`, offsetBytes);
    const sizeBytes = sizeOfType(types, member.typeId);
    return [{ name, offsetBytes, sizeBytes, isArray: type.kind === 'array' }];
  });
}

export class SharedStructs {
  readonly #structs = new Map<string, { struct: BtfStruct; types: BtfTypes }>();

  /** Those of all these objects; each has types of its own. */
  constructor(objects: readonly string[]) {
    for (const object of objects) {
      const types = parseBtf(parseBpfObject(fs.readFileSync(object)).btf);
      for (const type of types)
        if (type.kind === 'struct' && type.name !== '')
          this.#structs.set(type.name, { struct: type, types });
    }
  }

  #struct(name: string): { sizeBytes: number; leaves: readonly Leaf[] } {
    const found = this.#structs.get(name);
    if (found === undefined) throw new Error(`no struct ${name}`);
    return { sizeBytes: found.struct.sizeBytes, leaves: leavesOf(found.types, found.struct) };
  }

  sizeOf(name: string): number {
    return this.#struct(name).sizeBytes;
  }

  /** All members of a value. Throws Error for one of another size. */
  read(name: string, value: Buffer): Members {
    const { sizeBytes, leaves } = this.#struct(name);
    if (value.length !== sizeBytes)
      throw new Error(`${value.length} bytes are no struct ${name}, which has ${sizeBytes}`);
    return Object.fromEntries(
      leaves.map(({ name: member, offsetBytes, sizeBytes: length, isArray }) => {
        const bytes = value.subarray(offsetBytes, offsetBytes + length);
        const hex = isArray ? bytes.toString('hex') : Buffer.from(bytes).reverse().toString('hex');
        return [member, isArray ? hex : BigInt(`0x${hex}`)];
      }),
    );
  }

  /** A value of which these members are not zero. Throws Error for one that it does not have. */
  write(name: string, members: Members): Buffer {
    const { sizeBytes, leaves } = this.#struct(name);
    const value = Buffer.alloc(sizeBytes);
    for (const [member, content] of Object.entries(members)) {
      const leaf = leaves.find((each) => each.name === member);
      if (leaf === undefined) throw new Error(`struct ${name} has no ${member}`);
      const hex = typeof content === 'string' ? content : content.toString(16);
      const bytes = Buffer.from(hex.padStart(leaf.sizeBytes * 2, '0'), 'hex');
      (leaf.isArray ? bytes : bytes.reverse()).copy(value, leaf.offsetBytes);
    }
    return value;
  }
}
