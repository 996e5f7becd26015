// What the devices of this process's network namespace have sent.

import fs from 'node:fs';
import { parseSentBytes } from '../wire/device-counters.ts';

/** Bytes that each device has sent, by its name; of one that comes or goes meanwhile perhaps nothing. */
export function readSentBytes(): Map<string, number> {
  return parseSentBytes(fs.readFileSync('/proc/self/net/dev', 'utf8'));
}
