import test from 'ava';
import fc from 'fast-check';
import {
  hasOurRoot,
  qdiscProblems,
  type ObservedExit,
  type ObservedQdisc,
} from '../../../../helper/shaping/holder-qdiscs.ts';
import {
  desiredPrograms,
  plan,
  shapedDevices,
  type Desired,
  type Observed,
  type Step,
} from '../../../../helper/shaping/plan.ts';
import type { Occupant } from '../../../../helper/wire/hook-place.ts';
import type { Exit } from '../../../../helper/shaping/exits.ts';
import { DEFAULTS, type NodeDefaults } from '../../../../helper/shaping/rates.ts';
import { problemsOf } from '../../../../helper/shaping/problems.ts';
import { TC_H_ROOT } from '../../../../helper/wire/tc-message.ts';
import {
  hostInterfaceIndexesOf,
  type AttachmentRecord,
  type HostInterfaceRecord,
} from '../../../../helper/shaping/records.ts';
import { desiredOf } from '../../../model/desired.ts';
import { applyToModel } from '../../../model/node.ts';

const UPLINKS = [2, 3] as const;
const HOST_INTERFACES = [10, 11, 12] as const;
/** Further ones of the same pods, of which some share their caps. */
const BESIDE = [110, 111, 112] as const;

const UPPER: Exit = {
  ifindex: 4,
  name: 'dev4',
  kind: 'bond',
  role: 'uplink',
  holders: [3],
  hasFrames: true,
};
const TUNNEL: Exit = {
  ...{ ifindex: 3, name: 'dev3', kind: 'vxlan', role: 'uplink', holders: [3], hasFrames: true },
  overhead: { frameBytes: 50, align: 0, mtu: 0 },
};

/** Exits of their own and one that hands packets on. */
const EXITS: readonly (readonly Exit[])[] = [
  [plainExit(2), plainExit(3)],
  [plainExit(2), UPPER],
  [TUNNEL],
];

function plainExit(ifindex: number): Exit {
  return {
    ifindex,
    name: `dev${ifindex}`,
    kind: 'device',
    role: 'uplink',
    holders: [ifindex],
    hasFrames: true,
  };
}

const NOTHING = desiredOf({});

const root = (kind: string, handle: number): ObservedQdisc => ({
  kind,
  handle,
  parent: TC_H_ROOT,
  options: '',
});
/** With handle 0, whatever net.core.default_qdisc is. */
const defaultRoots = ['noqueue', 'mq', 'pfifo_fast', 'fq_codel', 'cake', 'fq_pie', 'htb'].map(
  (kind) => root(kind, 0),
);
const chosenRoots = ['fq_codel', 'pfifo', 'sfq', 'fq'].map((kind) => root(kind, 0x1_0000));
const foreignRoots = [
  ...['htb', 'tbf', 'cake', 'netem'].map((kind) => root(kind, 0x1_0000)),
  { ...root('fq', 0x1_0000), isTuned: true },
];

function device(ifindex: number, qdisc: ObservedQdisc, numTxQueues: number): ObservedExit {
  return { ifindex, name: `dev${ifindex}`, numTxQueues, qdiscs: [qdisc] };
}

interface Wiring {
  readonly isNetkit?: boolean;
  readonly isRouted?: boolean;
  readonly hasBeside?: boolean;
}

function besideOf(
  ifindex: number,
  { isNetkit = false, isRouted = false }: Wiring,
): HostInterfaceRecord {
  const name = { podInterface: 'v4if0', hostInterface: `dev${100 + ifindex}` };
  return {
    ...{ ...name, hostInterfaceIndex: 100 + ifindex, kind: isNetkit ? 'veth' : 'netkit' },
    ...(isRouted && { hostRouting: { addresses: [`10.0.1.${ifindex}`] } }),
  };
}

function attachment(
  ifindex: number,
  hasEgress: boolean,
  hasIngress: boolean,
  wiring: Wiring = {},
): AttachmentRecord {
  const { isNetkit = false, isRouted = false, hasBeside = false } = wiring;
  const macs = isNetkit ? {} : { mac: '02:00:00:00:00:01', hostMac: '02:00:00:00:00:02' };
  return {
    containerId: `c${ifindex}`,
    ifname: 'eth0',
    network: 'pods',
    hostInterface: `dev${ifindex}`,
    hostInterfaceIndex: ifindex,
    sandbox: '/run/netns/x',
    caps: {
      ...(hasEgress ? { egress: { rateBitsPerSec: 1_000_000 * ifindex } } : {}),
      ...(hasIngress ? { ingress: { rateBitsPerSec: 2_000_000 * ifindex } } : {}),
    },
    ...(ifindex === 11 && { exempt: ['192.0.2.0/24'] }),
    kind: isNetkit ? 'netkit' : 'veth',
    ...(isRouted && {
      hostRouting: { addresses: [`10.0.0.${ifindex}`, `2001:db8::${ifindex}`], ...macs },
    }),
    ...(hasEgress ? { egressAggregateId: 4096 + 2 * ifindex } : {}),
    ...(hasIngress ? { ingressAggregateId: 4097 + 2 * ifindex } : {}),
    ...(hasBeside && { beside: [besideOf(ifindex, wiring)] }),
  };
}

const attachments = fc
  .subarray([...HOST_INTERFACES])
  .chain((indexes) =>
    fc.tuple(
      ...indexes.map((ifindex) =>
        fc.tuple(
          fc.constant(ifindex),
          fc.boolean(),
          fc.boolean(),
          fc.record({ isNetkit: fc.boolean(), isRouted: fc.boolean(), hasBeside: fc.boolean() }),
        ),
      ),
    ),
  )
  .map((list) =>
    list.map(([ifindex, hasEgress, hasIngress, wiring]) =>
      attachment(ifindex, hasEgress, hasIngress, wiring),
    ),
  );

const defaults = fc
  .constantFrom(20_000_000, 50_000_000)
  .map((horizonNs): NodeDefaults => ({ ...DEFAULTS, horizonNs }));

const desires = fc
  .record({
    ...{ attachments, defaults, exits: fc.constantFrom(...EXITS) },
    exempt: fc.constantFrom([], ['10.0.0.0/8'], ['::/0', '!2001:db8::/32']),
  })
  .map(({ exits, defaults: settings, ...wanted }) => {
    const { attachments: records } = wanted;
    const hasSenders = records.some(({ egressAggregateId }) => egressAggregateId !== undefined);
    const hasRouting = records.some(({ hostRouting }) => hostRouting !== undefined);
    const arrivals = hasRouting ? exits.map(({ ifindex }) => ifindex) : [];
    return desiredOf(
      { ...wanted, exits: hasSenders ? exits : [], arrivals },
      { defaults: settings },
    );
  });

/** A fresh node, or one that other desires were applied to before: whatever a helper may find. */
function nodes(roots: readonly ObservedQdisc[]): fc.Arbitrary<Observed> {
  const uplinks = fc.tuple(
    ...UPLINKS.map((ifindex) =>
      fc.tuple(fc.constant(ifindex), fc.constantFrom(...roots), fc.constantFrom(1, 4)),
    ),
  );
  const fresh = uplinks.map((list): Observed => ({
    devices: new Map([
      ...list.map(([ifindex, qdisc, queues]) => [ifindex, device(ifindex, qdisc, queues)] as const),
      [UPPER.ifindex, device(UPPER.ifindex, root('noqueue', 0), 16)] as const,
      ...[...HOST_INTERFACES, ...BESIDE].map(
        (ifindex) => [ifindex, device(ifindex, root('noqueue', 0), 1)] as const,
      ),
    ]),
    programs: new Map(),
    inFront: new Map(),
    pages: new Set(),
    configs: new Map(),
    hostInterfaces: new Map(),
    overheads: new Map(),
    goesOnInReceive: false,
    exemptions: new Map(),
    routing: [],
    exitRecords: [],
  }));
  return fc
    .tuple(fresh, fc.array(fc.tuple(desires, fc.nat(20)), { maxLength: 3 }), fc.nat(3))
    .map(([node, history, others]) => {
      const before = history.reduce(
        (state, [desired, steps]) => apply(state, plan(desired, state).steps.slice(0, steps)),
        node,
      );
      return withOthersInFront(before, [...before.programs.keys()].slice(0, others));
    });
}

const OTHER: Occupant = { kind: 'program', id: 77, name: 'other' };

/** Somebody has stepped in front of podpace's programs at some places. */
function withOthersInFront(node: Observed, places: readonly string[], canPass = true): Observed {
  const firsts = places.filter((place) => !place.endsWith('Last'));
  return {
    ...node,
    inFront: new Map(firsts.map((place) => [place, { occupants: [OTHER], canPass }])),
  };
}

function apply(node: Observed, steps: readonly Step[]): Observed {
  return steps.reduce(applyToModel, node);
}

/** The plan of a look that asks for no device. */
function planMaps(desired: Desired, observed: Observed): readonly Step[] {
  const none = { devices: new Map(), programs: new Map(), inFront: new Map(), exitRecords: [] };
  return plan(desired, { ...observed, ...none }).steps;
}

function sorted(map: ReadonlyMap<string, string>): string[] {
  return [...map].map(([place, program]) => `${place} ${program}`).toSorted();
}

test('a plan leads to what is desired, and then there is nothing left to do', (t) => {
  fc.assert(
    fc.property(nodes([...defaultRoots, ...chosenRoots]), desires, (node, desired) => {
      const after = apply(node, plan(desired, node).steps);
      t.deepEqual(plan(desired, after).steps, []);
      t.deepEqual(problemsOf({ plan: plan(desired, after), observed: after, desired }), []);
      t.deepEqual(sorted(after.programs), sorted(desiredPrograms(desired)));
      for (const ifindex of shapedDevices(desired))
        t.deepEqual(qdiscProblems(after.devices.get(ifindex)!, 'respect'), []);
    }),
  );
});

test('whoever stands in front is passed where that can be done and nobody insists, and told of until then', (t) => {
  const anyPlace = fc.constantFrom('10-ingress', '2-egress', '10-egress');
  const desired = desiredOf({ attachments: [attachment(10, true, true)], exits: [plainExit(2)] });
  const [fresh] = fc.sample(nodes(defaultRoots), { numRuns: 1, seed: 7 });
  const whole = apply(fresh!, plan(desired, fresh!).steps);
  fc.assert(
    fc.property(anyPlace, fc.boolean(), fc.boolean(), (place, canPass, insists) => {
      const node = withOthersInFront(whole, [place], canPass);
      const wanted = { ...desired, contested: new Set(insists ? [place] : []) };
      const steps = plan(wanted, node).steps.map(({ kind }) => kind);
      t.deepEqual(steps, canPass && !insists ? ['come-first'] : []);
      const problems = problemsOf({ plan: plan(wanted, node), observed: node, desired: wanted });
      const device = `dev${place.split('-')[0]}`;
      t.deepEqual(
        problems.map(({ text }) =>
          new RegExp(`on ${device} .*program "other" \\(id 77\\)`).test(text),
        ),
        [true],
      );
    }),
  );
});

test('a plan that stops after any step is finished by the next one', (t) => {
  fc.assert(
    fc.property(
      nodes([...defaultRoots, ...chosenRoots]),
      desires,
      fc.nat(30),
      (node, desired, stop) => {
        const partly = apply(node, plan(desired, node).steps.slice(0, stop));
        const after = apply(partly, plan(desired, partly).steps);
        t.deepEqual(plan(desired, after).steps, []);
      },
    ),
  );
});

test('with nothing desired every qdisc that stood there before is back', (t) => {
  fc.assert(
    fc.property(nodes([...defaultRoots, ...chosenRoots]), desires, (node, desired) => {
      const none = NOTHING;
      const clean = apply(node, plan(none, node).steps);
      const used = apply(clean, plan(desired, clean).steps);
      const after = apply(used, plan(none, used).steps);
      t.deepEqual(after.exitRecords, []);
      t.is(after.programs.size, 0);
      t.is(after.hostInterfaces.size, 0);
      for (const device of after.devices.values()) t.false(hasOurRoot(device));
      for (const ifindex of UPLINKS) {
        const before = clean.devices.get(ifindex)!.qdiscs[0]!;
        if (before.handle !== 0) t.deepEqual(after.devices.get(ifindex)!.qdiscs[0], before);
      }
    }),
  );
});

test('no step leaves a classified packet without its departure program or its configuration', (t) => {
  fc.assert(
    fc.property(nodes(defaultRoots), desires, (node, desired) => {
      const ways = desired.attachments
        .filter(({ egressAggregateId }) => egressAggregateId !== undefined)
        .flatMap(({ egressAggregateId, ...record }) =>
          hostInterfaceIndexesOf(record).map((ifindex) => ({
            hostInterfaceIndex: ifindex,
            egressAggregateId,
          })),
        );
      const kept = ways.filter(
        ({ hostInterfaceIndex }) =>
          node.programs.get(`${hostInterfaceIndex}-ingress`) === undefined,
      );
      let state = node;
      for (const step of plan(desired, node).steps) {
        state = applyToModel(state, step);
        for (const { hostInterfaceIndex, egressAggregateId } of kept) {
          if (state.programs.get(`${hostInterfaceIndex}-ingress`) !== 'classify') continue;
          t.true(state.configs.has(egressAggregateId!));
          t.is(state.hostInterfaces.get(hostInterfaceIndex)?.egressId, egressAggregateId);
          for (const { ifindex } of desired.exits)
            t.regex(state.programs.get(`${ifindex}-egress`) ?? 'none', /^depart/);
        }
      }
    }),
  );
});

test('what somebody configured on purpose is left alone, and nothing is policed there', (t) => {
  fc.assert(
    fc.property(nodes(foreignRoots), desires, (node, desired) => {
      const { steps, problems } = plan(desired, node);
      const after = apply(node, steps);
      for (const { ifindex, holders } of desired.exits) {
        t.false(after.programs.has(`${ifindex}-egress`));
        for (const holder of holders) {
          t.regex(problems.get(holder) ?? '', /root qdisc that somebody configured/);
          t.deepEqual(after.devices.get(holder), node.devices.get(holder));
        }
      }
    }),
  );
});

test('a root qdisc that took the place of ours is not removed', (t) => {
  const desired = desiredOf({ attachments: [attachment(10, true, false)], exits: [plainExit(2)] });
  const none = NOTHING;
  const [node] = fc.sample(nodes(defaultRoots.slice(0, 1)), { numRuns: 1, seed: 1 });
  const used = apply(node!, plan(desired, node!).steps);
  const replaced = {
    ...used,
    devices: new Map([...used.devices, [2, device(2, root('htb', 0x1_0000), 4)]]),
  };
  const restore = plan(none, replaced).steps.find(
    (step) => step.kind === 'restore-root' && step.exit.ifindex === 2,
  );
  t.like(restore, { isStillOurs: false });
});

test('a root of ours that no record tells of makes room for the default, unless a program there needs it', (t) => {
  const [node] = fc.sample(nodes(defaultRoots.slice(0, 1)), { numRuns: 1, seed: 1 });
  const lost = { ...node!, exitRecords: [], programs: new Map<string, 'depart'>() };
  const devices = new Map([...node!.devices, [2, device(2, root('fq', 0x7070_0000), 1)]]);
  const { steps } = plan(NOTHING, { ...lost, devices });
  t.deepEqual(
    steps.filter(({ kind }) => kind === 'restore-root'),
    [
      {
        ...{ kind: 'restore-root', exit: { ifindex: 2, name: 'dev2', formerQdiscs: [] } },
        ...{ isStillOurs: true, isRecordLost: true },
      },
    ],
  );
  const needed = desiredOf({ attachments: [attachment(10, true, false)], exits: [plainExit(2)] });
  t.false(plan(needed, { ...lost, devices }).steps.some(({ kind }) => kind === 'restore-root'));
});

test('each missing piece is a problem that names the device', (t) => {
  const desired = desiredOf({ attachments: [attachment(10, true, true)], exits: [plainExit(2)] });
  const [fresh] = fc.sample(nodes(defaultRoots), { numRuns: 1, seed: 7 });
  const node = {
    ...fresh!,
    devices: new Map([...fresh!.devices, [2, device(2, root('mq', 0), 4)]]),
  };
  const whole = apply(node, plan(desired, node).steps);
  const problems = (observed: Observed): string =>
    problemsOf({ plan: plan(desired, observed), observed, desired })
      .map(({ text }) => text)
      .join('\n');
  t.is(problems(whole), '');
  for (const [place, name] of [
    ['10-ingress', 'classifier'],
    ['2-egress', 'departure program'],
    ['10-egress', 'departure program for ingress'],
  ] as const) {
    const programs = new Map([...whole.programs].filter(([candidate]) => candidate !== place));
    t.regex(
      problems({ ...whole, programs }),
      new RegExp(`The ${name} is missing on dev${place.split('-')[0]}`),
    );
  }
  const uplink = whole.devices.get(2)!;
  const withoutLeaf = {
    ...uplink,
    qdiscs: uplink.qdiscs.filter(({ parent }) => parent !== 0x7070_0002),
  };
  t.regex(
    problems({ ...whole, devices: new Map([...whole.devices, [2, withoutLeaf]]) }),
    /dev2 queue 2 has the leaf qdisc none/,
  );
  t.regex(problems({ ...whole, configs: new Map() }), /no configuration/);
  t.regex(
    problems({ ...whole, hostInterfaces: new Map() }),
    /dev10 is not known to the classifier/,
  );
});

test('every damage to a map entry is found and put right, also without a look at the devices', (t) => {
  const desired = desiredOf({ attachments: [attachment(10, true, true)], exits: [plainExit(2)] });
  const [fresh] = fc.sample(nodes(defaultRoots), { numRuns: 1, seed: 7 });
  const whole = apply(fresh!, plan(desired, fresh!).steps);
  t.deepEqual(planMaps(desired, whole), []);
  const [id] = whole.configs.keys();
  const config = whole.configs.get(id!)!;
  for (const name of Object.keys(config) as (keyof typeof config)[]) {
    const wrong = { ...config, [name]: name === 'exemptions' ? 3 : 0 };
    const damaged = { ...whole, configs: new Map([...whole.configs, [id!, wrong]]) };
    t.deepEqual(planMaps(desired, damaged), [{ kind: 'write-config', aggregateId: id!, config }]);
    t.deepEqual(planMaps(desired, apply(damaged, planMaps(desired, damaged))), []);
  }
  t.is(planMaps(desired, { ...whole, hostInterfaces: new Map() }).length, 1);
  const known = desiredOf({ ...desired, exempt: ['10.0.0.0/8'] });
  const exempting = apply(whole, planMaps(known, whole));
  for (const [damaged, step, problem] of [
    [
      { ...exempting, goesOnInReceive: false },
      { kind: 'write-continuation' },
      /held by a plain clock/,
    ],
    [
      { ...exempting, exemptions: new Map() },
      { kind: 'write-exemptions', list: 0, texts: known.exempt },
      /exempt addresses of the node/,
    ],
    [
      { ...exempting, exemptions: new Map([...exempting.exemptions, [id!, '1:2:3']]) },
      { kind: 'write-exemptions', list: id, texts: [] },
      /exempt addresses of aggregate/,
    ],
  ] as const) {
    const steps = planMaps(known, damaged);
    t.deepEqual(steps, [step as Step]);
    const problems = problemsOf({ plan: plan(known, damaged), observed: damaged, desired: known });
    t.regex(problems.map(({ text }) => text).join(), problem);
    t.deepEqual(planMaps(known, apply(damaged, steps)), []);
  }
});

test('an aggregate is emptied before it gets its first configuration, and last of all when it is given back', (t) => {
  const next = attachment(10, true, true);
  const { egressAggregateId: _new, ...former } = next;
  const desired = desiredOf(
    { attachments: [next], exits: [plainExit(2)] },
    { changes: [{ former, next }] },
  );
  const [fresh] = fc.sample(nodes(defaultRoots.slice(0, 1)), { numRuns: 1, seed: 7 });
  const node = { ...fresh!, configs: new Map(), programs: new Map() };
  const { steps } = plan(desired, node);
  const at = (wanted: Step['kind'], id: number): number =>
    steps.findIndex(
      (step) => step.kind === wanted && 'aggregateId' in step && step.aggregateId === id,
    );
  t.true(at('clear-aggregate', 4116) !== -1);
  t.true(at('clear-aggregate', 4116) < at('write-config', 4116));
  // The other one may be in use: its clock is its own.
  t.is(at('clear-aggregate', 4117), -1);
  const after = apply(node, steps);
  t.deepEqual(plan(desired, after).steps, []);
  const none = NOTHING;
  const leaving = plan(none, after).steps;
  t.deepEqual(
    leaving.slice(-2).map((step) => step.kind === 'clear-aggregate' && step.aggregateId),
    [4116, 4117],
  );
  t.deepEqual(plan(none, apply(after, leaving)).steps, []);
});

test('the pin of a link that has ended is let go of before a program is put in its place', (t) => {
  const desired = desiredOf({ attachments: [attachment(10, true, false)], exits: [plainExit(2)] });
  const [fresh] = fc.sample(nodes(defaultRoots), { numRuns: 1, seed: 7 });
  const whole = apply(fresh!, plan(desired, fresh!).steps);
  const programs = new Map([...whole.programs].filter(([place]) => place !== '10-ingress'));
  const node = { ...whole, programs, deadPins: new Set(['10-ingress', '99-egress']) };
  const { steps } = plan(desired, node);
  t.deepEqual(steps, [
    { kind: 'drop-pin', ifindex: 10, hook: 'ingress' },
    { kind: 'drop-pin', ifindex: 99, hook: 'egress' },
    { kind: 'attach', program: 'classify', ifindex: 10, hook: 'ingress' },
  ]);
  t.deepEqual(plan(desired, apply(node, steps)).steps, []);
});

test('two attachments that name one aggregate share it, and it goes with the last', (t) => {
  const first = attachment(10, true, true);
  const { egressAggregateId } = first;
  const second = { ...attachment(12, true, false), egressAggregateId: egressAggregateId! };
  const exits = [plainExit(2)];
  const alone = desiredOf({ attachments: [first], exits });
  const [fresh] = fc.sample(nodes(defaultRoots), { numRuns: 1, seed: 7 });
  const node = apply(fresh!, plan(alone, fresh!).steps);
  const both = desiredOf(
    { attachments: [first, second], exits },
    { changes: [{ former: undefined, next: second }] },
  );
  const joining = plan(both, node).steps;
  t.false(joining.some((step) => 'aggregateId' in step));
  const shared = apply(node, joining);
  t.is(shared.hostInterfaces.get(12)?.egressId, egressAggregateId);
  const left = desiredOf({ attachments: [second], exits });
  t.deepEqual(
    plan(left, shared).steps.flatMap((step) => ('aggregateId' in step ? [step] : [])),
    [
      {
        kind: 'write-config',
        aggregateId: egressAggregateId!,
        config: left.aggregates.get(egressAggregateId!)!.config,
      },
      { kind: 'clear-aggregate', aggregateId: first.ingressAggregateId! },
    ],
  );
  const last = plan(NOTHING, apply(shared, plan(left, shared).steps)).steps;
  t.true(
    last.some((step) => step.kind === 'clear-aggregate' && step.aggregateId === egressAggregateId),
  );
});

test('host routing is put in place behind the programs of others, and on a netkit at the far end', (t) => {
  const routed = (ifindex: number, isNetkit: boolean): AttachmentRecord =>
    attachment(ifindex, true, false, { isNetkit, isRouted: true });
  const attachments = [routed(10, false), routed(11, true)];
  const desired = desiredOf({ attachments, exits: [plainExit(2)], arrivals: [2] });
  t.deepEqual(
    desiredPrograms(desired),
    new Map([
      ['2-egress', 'depart'],
      ['2-ingressLast', 'arrive'],
      ['10-ingress', 'classify'],
      ['10-ingressLast', 'forward'],
      ['11-peer', 'classify'],
      ['11-peerLast', 'forward'],
    ]),
  );
});

test('an address that another pod has now is not taken from it with the former one', (t) => {
  const [fresh] = fc.sample(nodes(defaultRoots), { numRuns: 1, seed: 7 });
  const former = { ...attachment(10, false, false, { isRouted: true }) };
  const later = {
    ...attachment(11, false, false, { isRouted: true }),
    hostRouting: former.hostRouting!,
  };
  const before = desiredOf({ attachments: [former] });
  const after = desiredOf({ attachments: [later] });
  const whole = apply(fresh!, plan(before, fresh!).steps);
  const moved = apply(whole, plan(after, whole).steps);
  t.deepEqual(plan(after, moved).steps, []);
  const values = moved.routing
    .filter(({ map }) => map === 'podAddresses')
    .map(({ value }) => value);
  t.true(values.length === 2 && values.every((value) => value[0] === 11));
});

test('all host interfaces of an attachment share its aggregates, and have the programs that each needs', (t) => {
  const routed = attachment(10, true, true, { isRouted: true, hasBeside: true });
  const desired = desiredOf({ attachments: [routed], exits: [plainExit(2)] });
  const [fresh] = fc.sample(nodes(defaultRoots), { numRuns: 1, seed: 7 });
  const node = apply(fresh!, plan(desired, fresh!).steps);
  t.deepEqual(new Set(node.hostInterfaces.keys()), new Set([10, 110]));
  t.deepEqual(node.hostInterfaces.get(110), node.hostInterfaces.get(10));
  const places = sorted(node.programs).filter((place) => place.startsWith('1'));
  t.deepEqual(places, [
    ...['10-egress deliver', '10-ingress classify', '10-ingressLast forward'],
    ...['110-egress deliver', '110-peer classify', '110-peerLast forward'],
  ]);
  t.true([10, 110].every((ifindex) => shapedDevices(desired).has(ifindex)));
  // The second goes, and with it what stood for it.
  const { beside: _beside, ...one } = desired.attachments[0]!;
  const after = apply(node, plan({ ...desired, attachments: [one] }, node).steps);
  t.deepEqual([...after.hostInterfaces.keys()], [10]);
  t.false([...after.programs.keys()].some((place) => place.startsWith('110/')));
});
