// What the devices of this process's network namespace have received and sent.

import fs from 'node:fs';
import { parseDeviceBytes, type DeviceBytes } from '../wire/device-counters.ts';

/**
 * Bytes that each device has received and sent, by its name; of one that comes or goes meanwhile
 * perhaps nothing.
 */
export function readDeviceBytes(): DeviceBytes {
  return parseDeviceBytes(fs.readFileSync('/proc/self/net/dev', 'utf8'));
}
