// What ADD and `set` say of an interface of a pod that is no end of a pair with the node. Pure.

/** `reason`: a clause that says what it is instead. */
export function noPair(
  ifname: string,
  reason: string,
): { readonly message: string; readonly remedy: string } {
  return {
    message: `Cannot cap interface "${ifname}": ${reason}`,
    remedy:
      'podpace caps at the node-side end of a veth or netkit pair: chain it after bridge, ptp or another plugin that makes one',
  };
}
