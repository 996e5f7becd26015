// The pod that an attachment is of, as runtimes of Kubernetes name it in CNI_ARGS: `KEY=VALUE`
// pairs in any order, with semicolons between them.

import type { AttachmentKey, PodNames } from '../helper/protocol/messages.ts';
import { nameOf, podNamesOf } from '../helper/protocol/pod-names.ts';

/**
 * What CNI_ARGS says of the pod. The reference library refuses keys that a plugin does not know
 * unless there is `IgnoreUnknown=1`; here they are ignored with or without it, and so is what is no
 * pair. Of a key that comes twice the last counts, as there.
 */
export function podNamesIn(args: string): PodNames {
  const values = new Map(
    args.split(';').map((pair) => {
      const at = pair.indexOf('=');
      return [pair.slice(0, Math.max(at, 0)), pair.slice(at + 1)] as const;
    }),
  );
  return podNamesOf({
    podNamespace: values.get('K8S_POD_NAMESPACE'),
    podName: values.get('K8S_POD_NAME'),
    podUid: values.get('K8S_POD_UID'),
  });
}

/** The attachment that a call is about, for people. */
export function nameOfCall({
  pod,
  containerId,
  ifname,
}: AttachmentKey & { readonly pod: PodNames }): string {
  return nameOf({ containerId, ifname, ...pod });
}
