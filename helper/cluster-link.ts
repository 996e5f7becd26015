// What podpaced has to do with a cluster: nothing, unless it was asked for. Only then anything of it
// is loaded, HTTPS first of all.

import type { HelperConfig } from './config.ts';
import type { Shaper } from './control/shaper.ts';
import type { Problem } from './shaping/judgement.ts';

type Log = (level: 'info' | 'warn' | 'error', message: string) => void;

export interface ClusterLink {
  /** Begins to follow the pods of the node. */
  readonly follow: (shaper: Shaper) => void;
  /** What `status` says of the cluster. */
  readonly notices: () => readonly string[];
  /** Tells the cluster of pods whose cap is not enforced. */
  readonly tellOfProblems: (problems: readonly Problem[]) => void;
  /** Tells the cluster that podpace is left out of the network list. */
  readonly tellOfList: (message: string) => void;
  readonly close: () => void;
}

const NO_CLUSTER: ClusterLink = {
  follow: () => undefined,
  notices: () => [],
  tellOfProblems: () => undefined,
  tellOfList: () => undefined,
  close: () => undefined,
};

/** Throws Error with the remedy where the cluster cannot be reached as it is configured. */
export async function linkCluster(config: HelperConfig, log: Log): Promise<ClusterLink> {
  if (!config.kubernetes) return NO_CLUSTER;
  const { ClusterFollower, reachCluster } = await import('./follow-cluster.ts');
  const cluster = await reachCluster(config, process.env);
  let follower: InstanceType<typeof ClusterFollower> | undefined;
  return {
    follow: (shaper) => (follower = new ClusterFollower(cluster, shaper, log)),
    notices: () => follower?.notices() ?? [],
    tellOfProblems: (problems) => void follower?.tellOfProblems(problems),
    tellOfList: (message) => follower?.tellOfList(message),
    close: () => follower?.close(),
  };
}
