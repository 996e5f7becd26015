// A node's file system in a folder, on which podpace is installed.

import fs from 'node:fs';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import {
  install,
  type Installed,
  type InstallEdges,
  type InstallOptions,
} from '../../helper/install/install.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { LISTS } from './published-lists.ts';

export const FLANNEL = LISTS['10-flannel.conflist'] ?? '';

/** An executable that says of itself what the plugin of a release says. */
export function pluginOf(release: string): string {
  return `#!/bin/sh\necho 'CNI podpace plugin version ${release}' >&2\n`;
}

export interface InstallScene {
  readonly root: string;
  /** The plugin to be installed. */
  readonly plugin: string;
  /** Path here of a file of the node. */
  readonly at: (nodePath: string) => string;
  readonly write: (nodePath: string, content: string, mode?: number) => void;
  readonly read: (nodePath: string) => string;
  readonly install: (
    options?: Partial<InstallOptions>,
    edges?: Partial<InstallEdges>,
  ) => Promise<Installed>;
  /** Every file and link of the node, with content and mode. */
  readonly picture: () => Readonly<Record<string, string>>;
}

/** With containerd's usual places and flannel's list, unless `isEmpty`. */
export function installScene(t: ExecutionContext, isEmpty = false): InstallScene {
  const root = temporaryDirectory(t);
  const plugin = path.join(temporaryDirectory(t), 'podpace');
  fs.writeFileSync(plugin, pluginOf('1.2.0'), { mode: 0o755 });
  const at = (nodePath: string): string => path.join(root, nodePath);
  const scene: InstallScene = {
    ...{ root, plugin, at },
    write: (nodePath, content, mode = 0o644) => {
      fs.mkdirSync(path.dirname(at(nodePath)), { recursive: true });
      fs.writeFileSync(at(nodePath), content);
      fs.chmodSync(at(nodePath), mode);
    },
    read: (nodePath) => fs.readFileSync(at(nodePath), 'utf8'),
    install: (options, edges) =>
      install(
        {
          ...{ root, plugin, isPluginOnly: false, mayDowngrade: false, isDryRun: false },
          ...options,
        },
        { release: '1.2.0', requireHelper: async () => undefined, ...edges },
      ),
    picture: () =>
      Object.fromEntries(
        fs
          .readdirSync(root, { recursive: true, withFileTypes: true })
          .filter((entry) => !entry.isDirectory())
          .map((entry) => {
            const file = path.join(entry.parentPath, entry.name);
            const { mode } = fs.lstatSync(file);
            const content = entry.isSymbolicLink()
              ? fs.readlinkSync(file)
              : entry.isFile()
                ? fs.readFileSync(file, 'latin1')
                : '';
            return [path.relative(root, file), `${(mode & 0o7777).toString(8)} ${content}`];
          }),
      ),
  };
  if (isEmpty) return scene;
  fs.mkdirSync(at('/opt/cni/bin'), { recursive: true });
  scene.write('/etc/containerd/config.toml', 'version = 2\n');
  scene.write('/etc/cni/net.d/10-flannel.conflist', FLANNEL, 0o600);
  return scene;
}
