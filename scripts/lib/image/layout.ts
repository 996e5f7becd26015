// Container images as archives of an image layout (OCI image-spec 1.0, image-layout.md, manifest.md,
// config.md), of one layer each. No I/O.

import { createHash } from 'node:crypto';
import { writeTar, type TarEntry } from './tar.ts';

/** What runs of an image, and how registries and runtimes know it. */
export interface ImageOptions {
  /** With registry and tag, as runtimes write it: `localhost/podpace:0.1.0`. */
  readonly name: string;
  readonly architecture: 'amd64' | 'arm64';
  readonly entrypoint: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** A layer: an archive, and the same as it is stored. */
interface Layer {
  readonly archive: Buffer;
  readonly gzipped: Buffer;
}

const MEDIA = 'application/vnd.oci.image';

function digestOf(content: Uint8Array): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

function file(path: string, content: Uint8Array): TarEntry {
  return { path, kind: 'file', content, isExecutable: false };
}

function json(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function descriptor(kind: string, content: Uint8Array): object {
  return { mediaType: `${MEDIA}.${kind}`, digest: digestOf(content), size: content.length };
}

/** The archive of an image. Equal layers and options give equal bytes. */
export function writeImage({ archive, gzipped }: Layer, options: ImageOptions): Buffer {
  const { name, architecture, entrypoint, labels } = options;
  const config = json({
    created: '1970-01-01T00:00:00Z',
    ...{ architecture, os: 'linux' },
    config: { Entrypoint: entrypoint, Env: ['PATH=/usr/bin'], Labels: labels },
    rootfs: { type: 'layers', diff_ids: [digestOf(archive)] },
  });
  const manifest = json({
    ...{ schemaVersion: 2, mediaType: `${MEDIA}.manifest.v1+json` },
    config: descriptor('config.v1+json', config),
    layers: [descriptor('layer.v1.tar+gzip', gzipped)],
  });
  const index = json({
    ...{ schemaVersion: 2, mediaType: `${MEDIA}.index.v1+json` },
    manifests: [
      {
        ...descriptor('manifest.v1+json', manifest),
        annotations: {
          // containerd reads the first, others the second.
          'io.containerd.image.name': name,
          'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
        },
      },
    ],
  });
  const blobs = [config, manifest, gzipped].map((blob) =>
    file(`blobs/${digestOf(blob).replace(':', '/')}`, blob),
  );
  const layout = json({ imageLayoutVersion: '1.0.0' });
  return writeTar([...blobs, file('index.json', index), file('oci-layout', layout)]);
}
