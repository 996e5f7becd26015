// What the bandwidth plugin of containernetworking/plugins leaves on a node (1.1.1 and 1.9.1:
// plugins/meta/bandwidth/main.go and ifb_creator.go): podpace takes its place while pods run that
// it has shaped.

/** Prefix and as much of a hash as the kernel takes; cni/wiring/former-ifb-name.ts computes it. */
const IFB_NAME = /^bwp[0-9a-f]{12}$/;

/** Whether a device is named like the ifb by which the plugin shapes what a pod sends. */
export function isFormerIfbName(name: string): boolean {
  return IFB_NAME.test(name);
}

/** Handle (1:) of the TBF by which it shapes what a pod receives: the root of a host interface. */
export const FORMER_TBF_HANDLE = 0x1_0000;
