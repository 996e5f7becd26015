// What rules of a main plugin have in common: the pair that it makes, and an IPAM plugin that does
// as a script says.

import type { JsonObject } from '../../cni/types.ts';
import { scriptIpam } from './cni-place.ts';
import {
  nothing,
  prints,
  refusal,
  withPod,
  type Call,
  type Place,
  type Rule,
  type Verdict,
} from './cni-rule.ts';

/** Calls of a main plugin for one pod. */
export const rule = (title: string, source: string, ...calls: readonly Call[]): Rule =>
  withPod('main', title, source, ...calls);

interface Addressing {
  readonly address?: string;
  readonly gateway?: string;
  readonly more?: JsonObject;
}

const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/;
const HOST_NAME = /^(pod|veth)[0-9a-f]+$/;

/** A pair with one address, as a version prints it. */
export const pairOf =
  (
    cniVersion: string,
    { address = '10.91.0.2/24', gateway = '10.91.0.1', more }: Addressing = {},
  ) =>
  ({ sandbox }: Place): Verdict => {
    const mtu = cniVersion === '1.1.0' ? { mtu: 1500 } : {};
    const family = cniVersion < '1.0.0' ? { version: '4' } : {};
    return prints({
      cniVersion,
      interfaces: [
        { name: HOST_NAME, mac: MAC, ...mtu },
        { name: 'eth0', mac: MAC, sandbox, ...mtu },
      ],
      ips: [{ ...family, interface: 1, address, gateway }],
      ...more,
    });
  };

export const DEFAULT_ROUTE = { routes: [{ dst: '0.0.0.0/0' }] };
/** What ADD with host-local prints. */
export const added = (cniVersion = '1.0.0') => pairOf(cniVersion, { more: DEFAULT_ROUTE });

/** DEL, after which nothing is left. */
export const remove = (call: Omit<Call, 'command' | 'verdict'> = {}): Call => ({
  command: 'DEL',
  verdict: nothing,
  left: 0,
  ...call,
});

/** Has an IPAM plugin do on ADD, and on every other command, what a script of sh says. */
export const script =
  (onAdd: string, onOther?: string) =>
  (place: Place): void =>
    scriptIpam(place, onAdd, onOther);
export const SCRIPTED = { ipam: { type: 'scripted' } };
/** A script that prints an answer. */
export const says = (answer: JsonObject): string => `echo '${JSON.stringify(answer)}'`;
/** What that plugin gives. */
export const ADDRESS = { address: '10.91.0.2/24', gateway: '10.91.0.1' };
export const GIVEN = { cniVersion: '1.0.0', ips: [ADDRESS] };

/** How it fails in its own words. */
export const FAILS = `echo '{"code":77,"msg":"no luck","details":"today"}'; exit 1`;
export const NO_LUCK = refusal(77, 'no luck', { details: 'today' });
