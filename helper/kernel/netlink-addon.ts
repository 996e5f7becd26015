// Stands in for the module `node-gyp-build` in the executables, where the netlink package's addon is an asset
// and not a file beside the package. netlink/dist/raw.js calls it with its own folder and expects the addon.

import { loadAddon } from './assets.ts';

/** Loads the netlink package's addon. */
export default function loadNetlinkAddon(): unknown {
  return loadAddon('netlink.node');
}
