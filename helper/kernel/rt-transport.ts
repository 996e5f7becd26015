// What an RtSocket sends requests by.

/** The part of a NetlinkSocket that an RtSocket uses. */
export interface RtTransport {
  on(
    event: 'message' | 'truncatedMessage',
    listener: (datagram: Buffer, info: { readonly port: number }) => void,
  ): unknown;
  on(event: 'error', listener: (error: { readonly code: string }) => void): unknown;
  send(datagram: Buffer, done: (error?: { readonly code: string }) => void): void;
  ref(): void;
  unref(): void;
  close(): void;
}

/** linux/socket.h. */
export const SOL_NETLINK = 270;

/** linux/netlink.h. */
export const RT_OPTIONS = {
  /** Errors come without a copy of the request. */
  NETLINK_CAP_ACK: 10,
  /** Errors come with the kernel's text. */
  NETLINK_EXT_ACK: 11,
  /** Lists are filtered by the kernel, and a filter that it does not know is an error. */
  NETLINK_GET_STRICT_CHK: 12,
} as const;

/**
 * The kernel makes none larger. A list in few of them is seldom interrupted, and a device takes 1.4
 * KiB.
 */
export const DATAGRAM_BYTES = 32 * 1024;
