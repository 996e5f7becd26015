// Wishes as files: what pods were to have that were added without it, under `onUnenforceable:
// allow`. The helper puts them in force as soon as it can.

import type { AttachmentKey } from '../protocol/messages.ts';
import { WISHES } from '../protocol/state-files.ts';
import { PluginFiles } from './plugin-files.ts';
import { removeEmptyDirectory } from './record-files.ts';

export class WishFiles extends PluginFiles<typeof WISHES> {
  constructor(socketPath: string) {
    super(socketPath, WISHES);
  }

  /** Also removes the directory with the last one. */
  override remove(key: AttachmentKey): void {
    if (!this.isUsable) return;
    super.remove(key);
    removeEmptyDirectory(this.files.directory);
  }
}
