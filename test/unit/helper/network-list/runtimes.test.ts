// What the runtimes' own configuration says of directories. Keys: containerd's docs/cri/config.md
// (versions 2 and 3), CRI-O's docs/crio.conf.5.md.

import test from 'ava';
import { parse } from 'smol-toml';
import {
  containerdPlaces,
  crioPlaces,
  importsOf,
} from '../../../../helper/network-list/runtimes.ts';

function containerd(...files: readonly string[]) {
  return containerdPlaces(files.map((text) => parse(text)));
}

const V2 = `version = 2
[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "pause"
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/a/bin" # where
      conf_dir = '/a/net.d'
`;

test('containerd, versions 2 and 3, in all ways of writing a table', (t) => {
  const places = { confDir: '/a/net.d', binDirs: ['/a/bin'] };
  t.deepEqual(containerd(V2), places);
  t.deepEqual(
    containerd(`version = 3
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = [
  "/a/bin",
  "/b/bin", # another
]
conf_dir = "/a/net.d"`),
    { ...places, binDirs: ['/a/bin', '/b/bin'] },
  );
  t.deepEqual(
    containerd(
      'plugins."io.containerd.cri.v1.runtime".cni = { bin_dir = "/a/bin", conf_dir = "/a/net.d" }',
    ),
    places,
  );
  t.deepEqual(containerd('[plugins.cri.cni]\nbin_dir = "/a/bin"\nconf_dir = "/a/net.d"'), places);
});

test('containerd: where nothing is said, or an empty text, the usual places stand', (t) => {
  for (const text of ['', 'version = 2', '[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = ""'])
    t.deepEqual(containerd(text), {});
  t.deepEqual(containerdPlaces([undefined, 1, null]), {});
});

test('containerd: the section of a later file stands for the whole of the earlier', (t) => {
  const other = '[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = "/b/bin"';
  t.deepEqual(containerd(V2, other), { binDirs: ['/b/bin'] });
  t.deepEqual(containerd(V2, '[plugins."io.containerd.grpc.v1.cri".containerd]'), {});
  t.deepEqual(containerd(V2, '[plugins."another".cni]\nbin_dir="/x"').binDirs, ['/a/bin']);
  t.deepEqual(importsOf(parse('imports = ["conf.d/*.toml", "/b.toml"]')), [
    'conf.d/*.toml',
    '/b.toml',
  ]);
});

test('CRI-O: keys of a later file stand for those of an earlier', (t) => {
  const files = [
    '[crio.network]\nnetwork_dir = "/a/net.d/"\nplugin_dirs = ["/a/bin", "/b/bin"]',
    '[crio.network]\nplugin_dirs = ["/c/bin"]\ncni_default_network = "x"',
  ].map((text) => parse(text));
  t.deepEqual(crioPlaces(files), {
    ...{ confDir: '/a/net.d/', binDirs: ['/c/bin'], defaultNetwork: 'x' },
  });
  t.deepEqual(crioPlaces([parse('[crio.network]\nplugin_dir = "/d"')]), { binDirs: ['/d'] });
  t.deepEqual(crioPlaces([undefined]), {});
});
