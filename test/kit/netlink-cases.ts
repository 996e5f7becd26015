// Every way in which JavaScript that the netlink addon calls could end the process, done to our
// socket in a namespace of this process's own. Run by
// test/netns/helper/kernel/netlink-socket.test.ts; prints what happened as JSON.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flags, FlagsGet, Protocol } from 'netlink/dist/constants.js';
import { formatMessage } from 'netlink/dist/structs.js';
import { unshareNetworkNamespace } from '../../helper/kernel/ffi.ts';
import { changeLink, createVethPair, findLink } from '../../helper/kernel/links.ts';
import { NetlinkSocket } from '../../helper/kernel/netlink-socket.ts';
import { RtEvents } from '../../helper/kernel/rt-events.ts';
import { openRt } from '../../helper/kernel/open-rt.ts';
import { encodeLinkQuery, RTM_GETLINK } from '../../helper/wire/link-message.ts';
import { once } from './once.ts';

/** Room for a few events. */
const SMALL_BUFFER_BYTES = 4096;
const CHANGES = 40;
const SETTLE_MS = 50;

const uncaught: string[] = [];
process.on('uncaughtException', ({ message }) => uncaught.push(message));

function query(): Buffer {
  const flags = Flags.REQUEST | FlagsGet.DUMP;
  const message = { type: RTM_GETLINK, flags, seq: 1, port: 0, data: encodeLinkQuery({}) };
  return Buffer.concat(formatMessage(message));
}

/** Asks for the links; what the two callbacks do is the case. */
async function ask(
  onMessage: (socket: NetlinkSocket) => void,
  onSent: (socket: NetlinkSocket) => void,
) {
  const socket = new NetlinkSocket(Protocol.ROUTE);
  let heard = 0;
  socket.on('message', () => {
    heard += 1;
    onMessage(socket);
  });
  socket.send(query(), () => onSent(socket));
  await sleep(SETTLE_MS);
  socket.close();
  socket.close();
  socket.ref();
  socket.unref();
  return heard;
}

function fail(text: string): never {
  throw new Error(text);
}

const nothing = (): void => undefined;

async function callbacks(): Promise<Record<string, unknown>> {
  await ask(() => fail('listener'), nothing);
  // What is left in the queue of ticks after one that threw would run in the addon's next callback.
  await ask(
    once(() => process.nextTick(fail, 'tick')),
    nothing,
  );
  await ask(nothing, () => fail('sent'));
  await ask(nothing, () => process.nextTick(fail, 'sent tick'));
  const afterClose = await ask((socket) => socket.close(), nothing);
  const afterClosedBySent = await ask(nothing, (socket) => socket.close());
  return { uncaught: [...new Set(uncaught)], afterClose, afterClosedBySent };
}

/** Socket after socket until there are no descriptors left. */
function exhaustion(): string {
  const files: number[] = [];
  try {
    for (;;) files.push(fs.openSync('/dev/null', 'r'));
  } catch {
    // None is left.
  }
  try {
    new NetlinkSocket(Protocol.ROUTE).close();
    return 'made a socket';
  } catch (error) {
    return (error as Error).name;
  } finally {
    for (const file of files) fs.closeSync(file);
  }
}

/** Makes events without reading any: nothing is read while a process is waited for. */
function changeOften(): void {
  const changes = Array.from(
    { length: CHANGES },
    (_, count) => `link set left mtu ${1400 + count}`,
  );
  execFileSync('ip', ['-batch', '-'], { input: changes.join('\n') });
}

/**
 * More events than there is room for, while this process is too busy to read; then one that must be
 * heard.
 */
async function overrun(): Promise<Record<string, unknown>> {
  const rt = openRt();
  await createVethPair(rt, { name: 'left', mtu: 1500, peer: { name: 'right' } });
  const kinds: string[] = [];
  const events = new RtEvents(({ kind }) => kinds.push(kind), SMALL_BUFFER_BYTES);
  const link = (await findLink(rt, { name: 'left' }))?.index ?? 0;
  changeOften();
  await sleep(SETTLE_MS);
  const heard = kinds.splice(0);
  await changeLink(rt, link, { mtu: 1300 });
  await sleep(SETTLE_MS);
  events.close();
  rt.close();
  return {
    lost: heard.filter((kind) => kind === 'lost').length,
    heard: heard.length,
    afterwards: kinds,
  };
}

unshareNetworkNamespace();
const results = { ...(await callbacks()), exhaustion: exhaustion(), overrun: await overrun() };
process.stdout.write(`${JSON.stringify(results)}\n`);
