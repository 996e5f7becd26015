// What listens on a node for its pods, as sockets of this process, and counts what comes: TCP and
// UDP of both families, also behind TPROXY. What is no longer than a request it sends back.

import dgram from 'node:dgram';
import net from 'node:net';
import { setSocketOption } from '../../helper/kernel/ffi.ts';
import { inNetns, type NetNamespace } from '../../helper/kernel/netns.ts';
import type { Teardown } from './undo.ts';

/** linux/in.h and linux/in6.h. */
const [SOL_IP, IP_TRANSPARENT, SOL_IPV6, IPV6_TRANSPARENT] = [0, 19, 41, 75];
/** A datagram of no more bytes is a request. */
const REQUEST_BYTES = 256;

/** Bytes that have come, without any header. */
export interface NodeListener {
  readonly tcpBytes: () => number;
  readonly udpBytes: () => number;
  /**
   * Ends all connections by a reset: what their senders have not sent yet they would go on sending,
   * also when they are gone.
   */
  readonly reset: () => void;
}

/** Takes what is for anybody's address, as TPROXY wants it. */
function makeTransparent(handle: { readonly fd: number }): void {
  setSocketOption(handle.fd, SOL_IP, IP_TRANSPARENT, 1);
  setSocketOption(handle.fd, SOL_IPV6, IPV6_TRANSPARENT, 1);
}

/** Node has no name for the descriptor of a socket. */
function handleOf(socket: object): { readonly fd: number } {
  return Object.values(Object.getOwnPropertyDescriptors(socket))
    .map(({ value }) => value as unknown)
    .concat(
      Object.getOwnPropertySymbols(socket).map((symbol) => Reflect.get(socket, symbol) as unknown),
    )
    .map((value) => (value as { handle?: unknown } | null)?.handle ?? value)
    .find((value) => typeof (value as { fd?: unknown } | null)?.fd === 'number') as {
    readonly fd: number;
  };
}

/** Listens at a port of all addresses of a namespace, until it is over. */
export function listenOn(t: Teardown, netns: NetNamespace, port: number): NodeListener {
  const bytes = { tcp: 0, udp: 0 };
  const connections = new Set<net.Socket>();
  const server = net.createServer((connection) => {
    connections.add(connection);
    connection.on('data', (data) => (bytes.tcp += data.length));
    connection.on('error', () => connection.destroy());
  });
  const socket = dgram.createSocket({
    type: 'udp6',
    lookup: (name, _options, done) => done(null, name, 6),
  });
  socket.on('message', (message, { address, port: from }) => {
    bytes.udp += message.length;
    if (message.length <= REQUEST_BYTES) socket.send(message, from, address);
  });
  t.teardown(() => {
    for (const connection of connections) connection.destroy();
    server.close();
    socket.close();
  });
  // Both are there at once: no name has to be looked up.
  inNetns(netns, () => {
    server.listen({ port, exclusive: true });
    socket.bind({ address: '::', port, exclusive: true });
  });
  for (const each of [server, socket]) makeTransparent(handleOf(each));
  const reset = (): void => {
    for (const connection of connections) connection.resetAndDestroy();
    connections.clear();
  };
  return { tcpBytes: () => bytes.tcp, udpBytes: () => bytes.udp, reset };
}
