// UDP sockets of this process in network namespaces: no program is started, which takes a second in
// a VM.

import dgram from 'node:dgram';
import { inNetns, type NetNamespace } from '../../helper/kernel/netns.ts';
import type { Teardown } from './undo.ts';

/** A socket in a namespace, closed when it is over. */
export function openUdp(t: Teardown, netns: NetNamespace, family: 4 | 6): dgram.Socket {
  // The socket is made by bind, and at once only when no name has to be looked up.
  const socket = dgram.createSocket({
    type: family === 4 ? 'udp4' : 'udp6',
    lookup: (name, _options, done) => done(null, name, family),
  });
  t.teardown(() => void socket.close());
  const address = family === 4 ? '0.0.0.0' : '::';
  inNetns(netns, () => void socket.bind({ address, exclusive: true }));
  return socket;
}
