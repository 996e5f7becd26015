// What the helper has to know of a pod of its node: names and the two annotations. Pure.

import { DIRECTIONS, type Direction } from '../protocol/requests.ts';
import { CAP_RANGES } from '../protocol/ranges.ts';
import { anyObject, object, optional, string, text, type Reader } from '../protocol/shape.ts';
import { show } from '../wire/show.ts';
import { parseQuantity, QuantityError } from './quantity.ts';

/** Egress is what the pod sends. */
export const ANNOTATIONS: Readonly<Record<Direction, string>> = {
  egress: 'kubernetes.io/egress-bandwidth',
  ingress: 'kubernetes.io/ingress-bandwidth',
};

/**
 * On the mirror of a static pod: the uid by which the kubelet's runtime knows the pod
 * (pkg/kubelet/types/pod_update.go).
 */
const STATIC_POD_UID = 'kubernetes.io/config.hash';

/** A pod, as far as its caps go. */
export interface Pod {
  /** Of the object in the cluster. */
  readonly uid: string;
  /** As the runtime says it at ADD. */
  readonly runtimeUid: string;
  readonly namespace: string;
  readonly name: string;
  /** The texts of the annotations; absent where there is none. */
  readonly bandwidth: { readonly [D in Direction]?: string };
}

const metadata = object({
  uid: text,
  namespace: text,
  name: text,
  annotations: optional(anyObject),
});
const podObject = object({ metadata });

/** The pod in an object of the API, whole or only its metadata. Throws ShapeError. */
export const readPod: Reader<Pod> = (value, place) => {
  const { uid, namespace, name, annotations = {} } = podObject(value, place).metadata;
  const bandwidth: { [D in Direction]?: string } = {};
  for (const direction of DIRECTIONS) {
    const asked = annotations[ANNOTATIONS[direction]];
    if (asked !== undefined) bandwidth[direction] = string(asked, ANNOTATIONS[direction]);
  }
  const runtimeUid = annotations[STATIC_POD_UID];
  return {
    ...{ uid, namespace, name, bandwidth },
    runtimeUid: typeof runtimeUid === 'string' && runtimeUid !== '' ? runtimeUid : uid,
  };
};

/** What a pod's annotations ask for, in bits per second, and what is wrong with them. */
export interface AskedRates {
  readonly rates: { readonly [D in Direction]?: number };
  /** Directions whose annotation says nothing that can be used, each with a sentence. */
  readonly faults: { readonly [D in Direction]?: string };
}

/** The rate that an annotation asks for. Throws QuantityError with a clause. */
function rateOf(asked: string): number {
  const bitsPerSec = parseQuantity(asked);
  const [least, most] = CAP_RANGES.rateBitsPerSec;
  if (bitsPerSec < least) throw new QuantityError('it is below 1 kbit/s');
  if (bitsPerSec > most) throw new QuantityError('it is above 1 Pbit/s');
  return Number(bitsPerSec);
}

/** A quote of what somebody has written. */
const MAX_QUOTED = 40;

/** What the annotations of a pod ask for. containerd takes the same of them, and refuses the rest. */
export function askedRates({ bandwidth }: Pick<Pod, 'bandwidth'>): AskedRates {
  const rates: { [D in Direction]?: number } = {};
  const faults: { [D in Direction]?: string } = {};
  for (const direction of DIRECTIONS) {
    const asked = bandwidth[direction];
    if (asked === undefined) continue;
    try {
      rates[direction] = rateOf(asked);
    } catch (error) {
      if (!(error instanceof QuantityError)) throw error;
      const quoted = asked.length > MAX_QUOTED ? `${asked.slice(0, MAX_QUOTED)}…` : asked;
      faults[direction] =
        `Cannot use the annotation ${ANNOTATIONS[direction]} ${show(quoted)}: ${error.message}`;
    }
  }
  return { rates, faults };
}
