// An archive's bill of materials: CycloneDX 1.6 (cyclonedx.org/docs/1.6/json).

import type { Carried } from './carried.ts';

const ROOT_LICENCE = 'Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)';

/** What an archive is. */
export interface Product {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** What Node is made of, as `process.versions` of the same Node has it. */
  readonly nodeParts: Readonly<Record<string, string | undefined>>;
}

/** What is no software of its own among `process.versions`. */
const NO_PARTS = new Set(['node', 'modules', 'napi']);

/** Where in the archive the licence of something carried is. */
export function licenceFile(name: string): string {
  return `licenses/${name.replace('@', '').replaceAll('/', '-')}.txt`;
}

function componentOf(carried: Carried, nodeParts: Product['nodeParts']): object {
  const { name, version, purl, licence, sha512, sources } = carried;
  const isNode = name.startsWith('node-linux-');
  const own = { license: { name: `in ${licenceFile(name)}` } };
  const parts = Object.entries(nodeParts)
    .filter(([part, of]) => of !== undefined && !NO_PARTS.has(part))
    .map(([part, of]) => ({
      ...{ type: 'library', 'bom-ref': `${purl}#${part}`, name: part, version: of },
      licenses: [own],
    }));
  return {
    ...{ type: isNode ? 'platform' : 'library', 'bom-ref': purl, name, version, purl },
    licenses: [{ expression: licence }],
    ...(sha512 === undefined ? {} : { hashes: [{ alg: 'SHA-512', content: sha512 }] }),
    ...(sources === undefined
      ? {}
      : { externalReferences: [{ type: 'source-distribution', url: sources }] }),
    ...(isNode ? { components: parts } : {}),
  };
}

/** The bill as text. The same archive has the same one: it says no time and has no number. */
export function billOfMaterials(product: Product, carried: readonly Carried[]): string {
  const { name, version, architecture, nodeParts } = product;
  const root = `pkg:generic/${name}@${version}?arch=${architecture}`;
  const bill = {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    ...{ bomFormat: 'CycloneDX', specVersion: '1.6', version: 1 },
    metadata: {
      component: {
        ...{ type: 'application', 'bom-ref': root, name, version, purl: root },
        licenses: [{ expression: ROOT_LICENCE }],
      },
    },
    components: carried.map((each) => componentOf(each, nodeParts)),
    dependencies: [{ ref: root, dependsOn: carried.map(({ purl }) => purl) }],
  };
  return `${JSON.stringify(bill, undefined, 2)}\n`;
}
