// What the kernel tells of the node's devices, on its way to the shaper.

import { ChannelEvents } from './kernel/channel-events.ts';
import { RtEvents } from './kernel/rt-events.ts';
import type { Datapath } from './control/datapath.ts';
import { Follower } from './control/follow.ts';
import type { Shaper } from './control/shaper.ts';
import type { Log } from './log.ts';
import type { Tallies } from './tallies.ts';

/** Follows what happens to the node's devices. */
export function followNode(
  {
    shaper,
    datapath: { routes, devices, hooks },
  }: { readonly shaper: Shaper; readonly datapath: Datapath },
  tallies: Tallies,
  log: Log,
): { readonly lookSoon: () => void; readonly stop: () => void } {
  /** A failure is told of once, however often what failed is tried again. */
  let told: string | undefined;
  const follower = new Follower(async (changed) => {
    try {
      await shaper.follow(changed);
      told = undefined;
    } catch (error) {
      const { message } = error as Error;
      if (message !== told)
        log('error', `Cannot follow a change of the node's devices: ${message}`);
      told = message;
      throw error;
    }
  });
  routes.follow((ifindex) => follower.hear({ kind: 'route', ifindex }));
  const events = new RtEvents((event) => {
    routes.hear(event);
    devices.hear(event);
    // What others do with filters concerns podpace only where its own programs are filters.
    const { kind } = event;
    if (kind === 'lost') tallies.lostEvents += 1;
    if (kind === 'filter' && hooks.kind === 'clsact')
      follower.hear({ kind: 'qdisc', ifindex: event.ifindex });
    if (kind === 'link' || kind === 'lost') follower.hear(event);
    if (kind === 'qdisc') follower.hear({ kind, ifindex: event.ifindex });
  });
  devices.follow(() => events.settle());
  const channels = new ChannelEvents(({ ifindex, queues }) => {
    // A driver may make its queues anew.
    follower.hear({ kind: 'link', ifindex });
    shaper.tellOfQueues(ifindex, queues);
  });
  const stop = (): void => {
    events.close();
    channels.close();
    follower.close();
  };
  return { lookSoon: () => follower.hear({ kind: 'lost' }), stop };
}
