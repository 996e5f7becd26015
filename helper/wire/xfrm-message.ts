// States of IPsec as XFRM_MSG_GETSA lists them (struct xfrm_usersa_info and XFRMA_* of
// linux/xfrm.h), as far as it takes to know how long their packets are. The kernel gives the keys
// along with them; they are not read. Pure.

import { Attributes, requireLength } from './attributes.ts';
import { AF_INET6, decodeAddress } from './ip-address.ts';

export const XFRM_MSG_GETSA = 18;

const USERSA_INFO_BYTES = 224;
const DESTINATION_OFFSET = 56;
const PROTOCOL_OFFSET = 76;
const FAMILY_OFFSET = 212;
const MODE_OFFSET = 214;
const XFRM_MODE_TUNNEL = 1;
const IPPROTO_ESP = 50;

const XFRMA_ALG_CRYPT = 2;
const XFRMA_ENCAP = 4;
const XFRMA_ALG_AEAD = 18;
const XFRMA_ALG_AUTH_TRUNC = 20;
const XFRMA_MARK = 21;
const XFRMA_IF_ID = 31;
/** Since Linux 6.10. */
const XFRMA_SA_DIR = 33;
const XFRM_SA_DIR_IN = 1;

/**
 * struct xfrm_algo, _aead and _auth: a name, the bits of the key, and of the latter two the bits of
 * the check value.
 */
const ALGORITHM_NAME_BYTES = 64;
const CHECK_BITS_OFFSET = 68;

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
  requireLength('xfrm state', payload, USERSA_INFO_BYTES);
  const attributes = Attributes.decode(payload.subarray(USERSA_INFO_BYTES));
  if (payload.readUInt8(PROTOCOL_OFFSET) !== IPPROTO_ESP) return undefined;
  if (attributes.u8(XFRMA_SA_DIR) === XFRM_SA_DIR_IN) return undefined;
  const isIpv6 = payload.readUInt16LE(FAMILY_OFFSET) === AF_INET6;
  const aead = attributes.bytes(XFRMA_ALG_AEAD);
  const authentication = attributes.bytes(XFRMA_ALG_AUTH_TRUNC);
  const cipher = nameOf(aead ?? attributes.bytes(XFRMA_ALG_CRYPT));
  const ifId = attributes.u32(XFRMA_IF_ID);
  const mark = attributes.bytes(XFRMA_MARK);
  const end = DESTINATION_OFFSET + (isIpv6 ? 16 : 4);
  return {
    destination: decodeAddress(payload.subarray(DESTINATION_OFFSET, end)),
    ...{ isIpv6, isTunnel: payload.readUInt8(MODE_OFFSET) === XFRM_MODE_TUNNEL },
    icvBytes: checkBytes(aead ?? authentication),
    isInUdp: attributes.bytes(XFRMA_ENCAP) !== undefined,
    ...(cipher !== undefined && { cipher }),
    ...(ifId !== undefined && { ifId }),
    ...(mark?.length === 8 && {
      mark: { value: mark.readUInt32LE(0), mask: mark.readUInt32LE(4) },
    }),
  };
}

function nameOf(algorithm: Buffer | undefined): string | undefined {
  return algorithm?.toString('latin1', 0, ALGORITHM_NAME_BYTES).replace(/\0.*$/s, '');
}

function checkBytes(algorithm: Buffer | undefined): number {
  if (algorithm === undefined || algorithm.length < CHECK_BITS_OFFSET + 4) return 0;
  return algorithm.readUInt32LE(CHECK_BITS_OFFSET) / 8;
}
