import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { buildImage, withLibraries } from '../../../../../scripts/lib/image/build.ts';
import type { ImageOptions } from '../../../../../scripts/lib/image/layout.ts';
import { writeTar, type TarEntry } from '../../../../../scripts/lib/image/tar.ts';
import { temporaryDirectory } from '../../../../bed/temporary-directory.ts';

const ENTRIES: readonly TarEntry[] = [
  { path: 'usr/bin/one', kind: 'file', content: Buffer.from('#!/bin/sh\n'), isExecutable: true },
  { path: 'usr/bin/other', kind: 'hard link', target: 'usr/bin/one' },
  { path: 'etc/empty', kind: 'file', content: Buffer.alloc(0), isExecutable: false },
  { path: 'etc/block', kind: 'file', content: Buffer.alloc(512, 'x'), isExecutable: false },
  { path: 'var/run', kind: 'symbolic link', target: '/run' },
];
const OPTIONS: ImageOptions = {
  ...{ name: 'localhost/one:1.2', architecture: 'amd64', entrypoint: ['/usr/bin/one'] },
  labels: { a: 'b' },
};

function unpack(t: ExecutionContext, archive: Buffer): string {
  const folder = temporaryDirectory(t);
  execFileSync('tar', ['-x', '-C', folder], { input: archive });
  return folder;
}

test('tar unpacks what went in, in the order of paths', (t) => {
  const archive = writeTar(ENTRIES);
  const folder = unpack(t, archive);
  const at = (name: string): string => path.join(folder, name);
  t.is(fs.readFileSync(at('usr/bin/other'), 'utf8'), '#!/bin/sh\n');
  t.is(fs.statSync(at('usr/bin/one')).ino, fs.statSync(at('usr/bin/other')).ino);
  t.is(fs.statSync(at('usr/bin/one')).mode & 0o7777, 0o755);
  t.is(fs.statSync(at('etc/empty')).mode & 0o7777, 0o644);
  t.is(fs.statSync(at('etc/empty')).size, 0);
  t.is(fs.readFileSync(at('etc/block'), 'utf8'), 'x'.repeat(512));
  t.is(fs.readlinkSync(at('var/run')), '/run');
  const listed = execFileSync('tar', ['-t'], { input: archive, encoding: 'utf8' }).trim();
  t.deepEqual(
    listed.split('\n').map((name) => name.replace(/\/$/, '')),
    [
      ...['etc', 'etc/block', 'etc/empty', 'usr', 'usr/bin', 'usr/bin/one', 'usr/bin/other'],
      ...['var', 'var/run'],
    ],
  );
  t.deepEqual(writeTar(ENTRIES.toReversed()), archive);
});

test('a path that ustar has no room for is refused', (t) => {
  const kind = 'directory';
  t.throws(() => writeTar([{ path: 'a'.repeat(101), kind }]), { message: /more than 100 bytes/ });
  t.notThrows(() => writeTar([{ path: 'a'.repeat(100), kind }]));
});

/** A blob of a layout by its descriptor, which has to be true. */
function blobOf(
  t: ExecutionContext,
  layout: string,
  { digest, size }: { readonly digest: string; readonly size: number },
): Buffer {
  const blob = fs.readFileSync(path.join(layout, 'blobs', digest.replace(':', '/')));
  t.is(blob.length, size);
  t.is(`sha256:${createHash('sha256').update(blob).digest('hex')}`, digest);
  return blob;
}

test('an image is a layout whose parts name each other, the same bytes each time', async (t) => {
  const files = ['a', 'b'].map((name) => path.join(temporaryDirectory(t), name));
  for (const file of files) await buildImage(ENTRIES, OPTIONS, file);
  const [image, again] = files.map((file) => fs.readFileSync(file)) as [Buffer, Buffer];
  t.true(image.equals(again));
  const layout = unpack(t, image);
  const read = (name: string): string => fs.readFileSync(path.join(layout, name), 'utf8');
  t.is(read('oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const [named] = JSON.parse(read('index.json')).manifests;
  t.deepEqual(named.annotations, {
    'io.containerd.image.name': 'localhost/one:1.2',
    'org.opencontainers.image.ref.name': '1.2',
  });
  const manifest = JSON.parse(blobOf(t, layout, named).toString());
  const config = JSON.parse(blobOf(t, layout, manifest.config).toString());
  const archive = gunzipSync(blobOf(t, layout, manifest.layers[0]));
  const diff = `sha256:${createHash('sha256').update(archive).digest('hex')}`;
  t.deepEqual(config.rootfs, { type: 'layers', diff_ids: [diff] });
  t.deepEqual(config.config.Entrypoint, ['/usr/bin/one']);
  t.true(archive.equals(writeTar(ENTRIES)));
});

test('an executable runs with the libraries that are found for it, and with nothing else', async (t) => {
  const program: TarEntry = {
    ...{ path: 'node', kind: 'file', isExecutable: true },
    content: fs.readFileSync(process.execPath),
  };
  const libraries = await withLibraries([process.execPath]);
  const folder = unpack(t, writeTar([program, ...libraries]));
  const said = execFileSync('chroot', [folder, '/node', '--version'], { encoding: 'utf8' });
  t.is(said, `${process.version}\n`);
  const packages = libraries.flatMap(({ path }) => /doc\/(.*)\/copyright/.exec(path)?.[1] ?? []);
  t.deepEqual(packages.toSorted(), ['libc6', 'libgcc-s1', 'libstdc++6']);
});
