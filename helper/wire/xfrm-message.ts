// States of IPsec as XFRM_MSG_GETSA lists them (struct xfrm_usersa_info and XFRMA_* of
// linux/xfrm.h), as far as it takes to know how long their packets are. The kernel gives the keys
// along with them; they are not read. Pure.

import { MessageFormat } from './attributes.ts';
import { AF_INET6, decodeAddress } from './ip-address.ts';
import { Struct } from './struct.ts';

export const XFRM_MSG_GETSA = 18;

const XFRM_MODE_TUNNEL = 1;
const IPPROTO_ESP = 50;
const XFRM_SA_DIR_IN = 1;

/**
 * struct xfrm_algo, _aead and _auth: a name, the bits of the key, and of the latter two the bits of
 * the check value.
 */
const ALGORITHM = new Struct('algorithm', { name: 64, keyBits: 'u32', checkBits: 'u32' });
const MARK = new Struct('mark', { value: 'u32', mask: 'u32' });

const STATE = new MessageFormat(
  new Struct('xfrm state', {
    selector: 56,
    ...{ destination: 16, spi: 'u32', protocol: 'u8', padding: 3 },
    ...{ source: 16, lifetimes: 64 + 32, statistics: 12, sequence: 'u32', requestId: 'u32' },
    ...{ family: 'u16', mode: 'u8', replayWindow: 'u8', flags: 'u8', end: 7 },
  }),
  {
    crypt: [2, 'bytes'],
    encapsulation: [4, 'bytes'],
    aead: [18, 'bytes'],
    authentication: [20, 'bytes'],
    mark: [21, { decode: (mark) => (mark.length === MARK.size ? MARK.decode(mark) : undefined) }],
    ifId: [31, 'u32'],
    // Since Linux 6.10.
    direction: [33, 'u8'],
  },
);

/** A state that makes packets of ESP. */
export interface XfrmState {
  readonly destination: string;
  readonly isIpv6: boolean;
  /** Whether it puts an IP header of its own in front. */
  readonly isTunnel: boolean;
  /**
   * Name of the cipher, or of the one algorithm that is cipher and authentication; absent without
   * any.
   */
  readonly cipher?: string;
  /** Bytes of the integrity check value. */
  readonly icvBytes: number;
  readonly isInUdp: boolean;
  readonly ifId?: number;
  readonly mark?: { readonly value: number; readonly mask: number };
}

/**
 * Decodes the payload of XFRM_MSG_NEWSA; undefined for other protocols than ESP, and for what is
 * only received. Throws WireError.
 */
export function decodeXfrmState(payload: Buffer): XfrmState | undefined {
  const state = STATE.decode(payload);
  const { aead, authentication, crypt, ifId, mark } = state;
  if (state.protocol !== IPPROTO_ESP || state.direction === XFRM_SA_DIR_IN) return undefined;
  const isIpv6 = state.family === AF_INET6;
  const cipher = nameOf(aead ?? crypt);
  return {
    destination: decodeAddress(state.destination.subarray(0, isIpv6 ? 16 : 4)),
    ...{ isIpv6, isTunnel: state.mode === XFRM_MODE_TUNNEL },
    icvBytes: checkBytes(aead ?? authentication),
    isInUdp: state.encapsulation !== undefined,
    ...(cipher !== undefined && { cipher }),
    ...(ifId !== undefined && { ifId }),
    ...(mark !== undefined && { mark }),
  };
}

function nameOf(algorithm: Buffer | undefined): string | undefined {
  return algorithm?.toString('latin1', 0, ALGORITHM.offsets.keyBits).replace(/\0.*$/s, '');
}

function checkBytes(algorithm: Buffer | undefined): number {
  if (algorithm === undefined || algorithm.length < ALGORITHM.size) return 0;
  return ALGORITHM.decodeAt(algorithm, 0).checkBits / 8;
}
