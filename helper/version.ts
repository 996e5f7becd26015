// The release that this executable belongs to.

import manifest from '../package.json' with { type: 'json' };

export const VERSION: string = manifest.version;
