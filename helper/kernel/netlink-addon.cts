// Stands in for the module `node-gyp-build` in the executables, where the netlink package's addon
// is an asset and not a file beside the package. netlink/dist/raw.js requires it and calls what it
// gets, which an ES module's default export could not be: hence CommonJS.

import type * as Assets from './assets.ts' with { 'resolution-mode': 'import' };

interface NetlinkAddon {
  readonly NativeNetlink: unknown;
}

let loaded: NetlinkAddon | undefined;

/**
 * The netlink package's addon, loaded when its first socket is made: what opens none needs no
 * addon. The package asks for it with each socket, and to load it means to compare its file.
 */
module.exports = function netlinkAddon(): NetlinkAddon {
  return {
    get NativeNetlink(): unknown {
      const { loadAddon } = require('./assets.ts') as typeof Assets;
      loaded ??= loadAddon('netlink.node') as NetlinkAddon;
      return loaded.NativeNetlink;
    },
  };
};
