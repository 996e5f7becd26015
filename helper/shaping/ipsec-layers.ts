// What IPsec does to a packet by a state that is found for a device: RFC 4303. Pure.

import type { Link } from '../wire/link-message.ts';
import type { XfrmState } from '../wire/xfrm-message.ts';
import {
  IPV4,
  IPV6,
  lengthOf,
  NO_LIMIT,
  UDP,
  type Layer,
  type OuterWays,
  type Step,
} from './layers.ts';

/** What a cipher adds to a packet. */
interface Cipher {
  /** Of the initialization vector that stands in each packet. */
  readonly ivBytes: number;
  /** What is encrypted is padded to a multiple of this, and to 4 (RFC 4303, section 2.4). */
  readonly blockBytes: number;
}

const STREAM: Cipher = { ivBytes: 8, blockBytes: 1 };
const BLOCK_16: Cipher = { ivBytes: 16, blockBytes: 16 };
const BLOCK_8: Cipher = { ivBytes: 8, blockBytes: 8 };
const NULL_CIPHER: Cipher = { ivBytes: 0, blockBytes: 1 };

/** By the names that the kernel has for them (net/xfrm/xfrm_algo.c). */
const CIPHERS: Readonly<Record<string, Cipher>> = {
  // RFC 4106, RFC 4309, RFC 4543, RFC 7634, RFC 3686.
  'rfc4106(gcm(aes))': STREAM,
  'rfc4309(ccm(aes))': STREAM,
  'rfc4543(gcm(aes))': STREAM,
  'rfc7539esp(chacha20,poly1305)': STREAM,
  'rfc3686(ctr(aes))': STREAM,
  // RFC 3602, RFC 4312, and those that are like them.
  'cbc(aes)': BLOCK_16,
  'cbc(camellia)': BLOCK_16,
  'cbc(serpent)': BLOCK_16,
  'cbc(twofish)': BLOCK_16,
  'cbc(sm4)': BLOCK_16,
  // RFC 2451.
  'cbc(des)': BLOCK_8,
  'cbc(des3_ede)': BLOCK_8,
  'cbc(blowfish)': BLOCK_8,
  'cbc(cast5)': BLOCK_8,
  // RFC 2410.
  'ecb(cipher_null)': NULL_CIPHER,
  cipher_null: NULL_CIPHER,
};

const USUAL_CIPHER = STREAM;

/** RFC 4303, section 2: SPI and sequence number; pad length and next header. */
const ESP_HEADER = 8;
const ESP_TRAILER = 2;

/** What ESP does to a packet, from its trailer to the outer header. */
function espSteps(state: XfrmState): readonly Step[] {
  const { ivBytes, blockBytes } = CIPHERS[state.cipher ?? ''] ?? USUAL_CIPHER;
  const outer = (state.isTunnel ? (state.isIpv6 ? IPV6 : IPV4) : 0) + (state.isInUdp ? UDP : 0);
  return [
    { add: ESP_TRAILER },
    { padTo: Math.max(blockBytes, 4), mtu: NO_LIMIT },
    { add: ESP_HEADER + ivBytes + state.icvBytes + outer },
  ];
}

const USUAL_STATE: XfrmState = {
  ...{ destination: '', isIpv6: false, isTunnel: true, icvBytes: 16, isInUdp: false },
  cipher: 'rfc4106(gcm(aes))',
};

/** IPsec by one of several states: the longest, which is known where all are the same. */
function ipsec(states: readonly XfrmState[]): Layer {
  const candidates = states.map(espSteps).toSorted((a, b) => lengthOf(b) - lengthOf(a));
  const [longest = espSteps(USUAL_STATE), ...others] = candidates;
  const isKnown =
    candidates.length > 0 &&
    states.every(({ cipher = '' }) => CIPHERS[cipher] !== undefined) &&
    others.every((steps) => JSON.stringify(steps) === JSON.stringify(longest));
  return { steps: longest, goesOnAs: 'packet', certainty: isKnown ? undefined : 'estimated' };
}

/** An xfrm interface: by the states that have its id. */
export function xfrm({ tunnel }: Link, { xfrmStates }: OuterWays): Layer {
  return ipsec(tunnel?.isExternal ? [] : xfrmStates.filter(({ ifId }) => ifId === tunnel?.ifId));
}

/** A VTI marks what it sends with its key, and sends it to its far end (net/ipv4/ip_vti.c). */
export function vti({ tunnel }: Link, { xfrmStates }: OuterWays): Layer {
  const { remote, outKey = 0 } = tunnel ?? {};
  const mine = xfrmStates.filter(({ destination, mark = { value: 0, mask: 0 }, ifId }) => {
    const isThere = remote === undefined || destination === remote;
    return isThere && ifId === undefined && (outKey & mark.mask) >>> 0 === mark.value;
  });
  return ipsec(mine);
}
