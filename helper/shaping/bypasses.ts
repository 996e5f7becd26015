// What others have attached that takes packets past a cap: found by looking, not by watching where
// packets go. Pure.
//
// A filter's redirect is known to take packets away. An XDP program runs before podpace's, and
// nobody can tell from outside which packets it redirects, or whether any: that is something to
// know, and no fault.

import { remedies } from '../protocol/remedies.ts';
import { isFormerIfbName } from '../wire/bandwidth-plugin.ts';
import { nameOfPlace, type Redirect } from '../wire/hook-place.ts';
import type { Problem, Scope } from './judgement.ts';
import { desiredPrograms, shapedDevices, type Desired, type Observed } from './plan.ts';
import type { ProgramName } from '../wire/datapath-names.ts';
import { hostInterfacesOf } from './records.ts';

interface Looked {
  readonly desired: Desired;
  readonly observed: Observed;
}

/** Redirects of packets for which one of our programs is there, with that program. */
function redirectsOf({ desired, observed }: Looked): RedirectHere[] {
  const programs = desiredPrograms(desired);
  return [...observed.devices.values()].flatMap(({ ifindex, name, redirects = [] }) =>
    redirects.flatMap((redirect) => {
      const program = programs.get(nameOfPlace({ ifindex, hook: redirect.hook }));
      const filter = `The filter "${redirect.type}" (priority ${redirect.priority}) on ${name} (${redirect.hook})`;
      const text = `${filter} redirects packets to ${redirect.name}`;
      return program === undefined ? [] : [{ ifindex, name, redirect, program, text }];
    }),
  );
}

interface RedirectHere {
  readonly ifindex: number;
  readonly name: string;
  readonly redirect: Redirect;
  readonly program: ProgramName;
  readonly text: string;
}

/** Whom a program at a device is there for. */
type ConcernedBy = (program: ProgramName, ifindex: number) => Scope[];

/**
 * Redirects that packets with a cap do not survive. What comes up from a pod has to meet a
 * departure program yet; what leaves by an exit, or into a pod, has its departure time and needs an
 * fq. An ifb gives them back to where they came from.
 */
export function redirectProblems(looked: Looked, concernedBy: ConcernedBy): Problem[] {
  const { desired } = looked;
  const shaped = shapedDevices(desired);
  const exits = new Set(desired.exits.map(({ ifindex }) => ifindex));
  return redirectsOf(looked)
    .filter(({ redirect: { hook, comesBack, ifindex } }) => {
      return !comesBack && !(hook === 'ingress' ? exits : shaped).has(ifindex);
    })
    .map(({ ifindex, name, program, text }) => {
      return {
        code: 'redirect-past-cap',
        text: `${text}, past the cap`,
        place: name,
        scopes: concernedBy(program, ifindex),
      };
    });
}

/** Redirects through an ifb: it may have a limit of its own, which the pod gets besides its cap. */
export function detourNotes(looked: Looked, concernedBy: ConcernedBy): Problem[] {
  return redirectsOf(looked)
    .filter(({ redirect }) => redirect.comesBack)
    .map(({ ifindex, name, program, text, redirect }) => {
      const former = isFormerIfbName(redirect.name)
        ? `; the CNI bandwidth plugin has made it: ${remedies.formerPlugin}`
        : '';
      return {
        code: 'redirect-detour',
        ...{
          text: `${text} and back: a limit there comes on top of the cap${former}`,
          place: name,
        },
        scopes: concernedBy(program, ifindex),
      };
    });
}

/** XDP programs that see what capped pods send. */
export function xdpNotes({ desired, observed }: Looked): Problem[] {
  const senders = desired.attachments.filter(
    ({ egressAggregateId }) => egressAggregateId !== undefined,
  );
  return senders.flatMap((key) =>
    hostInterfacesOf(key).flatMap(({ hostInterface: place, hostInterfaceIndex }): Problem[] => {
      const xdp = observed.devices.get(hostInterfaceIndex)?.xdp;
      if (xdp === undefined) return [];
      const text = `The XDP program "${xdp.name}" (id ${xdp.id}) on ${place} may redirect packets past the cap`;
      return [
        {
          code: 'xdp-present',
          text,
          place,
          scopes: [{ of: 'attachment', key, direction: 'egress' }],
        },
      ];
    }),
  );
}
