// Every rule of the CNI specification on the built executable, call by call beside the plugins that
// podpace replaces: `bandwidth` where it is chained, `ptp` where it makes the interface. Where
// podpace does otherwise on purpose, test/kit/cni-deviations.ts says why.

import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import type { JsonObject } from '../../../cni/types.ts';
import type { AttachParams, Cap } from '../../../helper/protocol/messages.ts';
import { burstNsOf } from '../../../helper/shaping/rates.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { CHAINED_RULES } from '../../kit/chained-rules.ts';
import { DEVIATIONS, type Deviation } from '../../kit/cni-deviations.ts';
import { inside, makeNetnsFor } from '../../kit/cni-node.ts';
import { devicesIn, Lane, reservationsOf, tbfCaps, tbfOf } from '../../kit/cni-lane.ts';
import { callExecutable, HOST, PODPACE, REFERENCES, type CallPlace } from '../../kit/cni-place.ts';
import {
  inWords,
  isAsSaid,
  objectIn,
  refusal,
  type Call,
  type Ending,
  type Rule,
} from '../../kit/cni-rule.ts';
import { refuses, startFakeHelper, type FakeHelper } from '../../kit/fake-helper.ts';
import { FRAME_RULES } from '../../kit/frame-rules.ts';
import { IPAM_RULES } from '../../kit/ipam-rules.ts';
import { MAIN_PLUGIN_RULES } from '../../kit/main-plugin-rules.ts';
import { PREV_RESULT_RULES } from '../../kit/prev-result-rules.ts';

const TABLES: Readonly<Record<string, readonly Rule[]>> = {
  'the frame: environment, input and versions': FRAME_RULES,
  'behind another plugin: keys, caps, GC and STATUS': CHAINED_RULES,
  'what the plugin before has printed': PREV_RESULT_RULES,
  'as the main plugin: results, and what stays': MAIN_PLUGIN_RULES,
  'IPAM plugins: what they answer, and do instead': IPAM_RULES,
};

/** Processes of plugins mostly wait: for each other's locks, and to be loaded. */
const LANES = 2 * availableParallelism();

/** Whether the reference that is installed is of CNI 1.1.0. */
const speaks110 = (() => {
  const { stdout } = spawnSync(REFERENCES.chained, {
    env: { CNI_COMMAND: 'VERSION' },
    encoding: 'utf8',
  });
  return stdout.includes('"1.1.0"');
})();

const nameOf = ({ role, title }: Rule, index: number): string =>
  `${role}: ${title}${index === 0 ? '' : ` #${index + 1}`}`;

function deviationOf(name: string): Deviation | undefined {
  const [deviation, second] = DEVIATIONS.filter(
    (each) =>
      each.rules.some((pattern) => pattern.test(name)) &&
      (each.speaks110 ?? speaks110) === speaks110,
  );
  if (second !== undefined) throw new Error(`two deviations of ${name}`);
  return deviation;
}

/** One call of one plugin, and what there is to say of it. */
interface Attempt {
  readonly call: Call;
  readonly place: CallPlace;
  readonly ending: Ending;
  readonly helper: FakeHelper;
  /** Number of requests that the helper had had before. */
  readonly from: number;
}

async function leftFault({ call, place }: Attempt): Promise<string | undefined> {
  if (call.left === undefined) return undefined;
  const { sandbox, directory, containerId } = place;
  const [devices, addresses] = [await devicesIn(sandbox), reservationsOf(directory, containerId)];
  const isRight = devices.length === call.left && (call.left > 0 || addresses.length === 0);
  return isRight ? undefined : `left are ${[...devices, ...addresses].join()}`;
}

/** Caps that the helper was asked for, by direction, bit/s. */
function askedCaps({ helper, from }: Attempt): JsonObject {
  const attach = helper.requests.slice(from).find(({ method }) => method === 'attach');
  const { egress, ingress } = (attach?.params as AttachParams | undefined)?.caps ?? {};
  return {
    ...(egress && { egress: egress.rateBitsPerSec }),
    ...(ingress && { ingress: ingress.rateBitsPerSec }),
  };
}

const verdictOf = ({ call, place }: Attempt) =>
  typeof call.verdict === 'function' ? call.verdict(place) : call.verdict;

/** An error object is of the input's version, or of the newest where that is not known yet. */
function versionFault({ call, place, ending }: Attempt): string | undefined {
  if (ending.status === 0) return undefined;
  const { config = {} } = call;
  const more = typeof config === 'function' ? config(place) : config;
  const { cniVersion } = objectIn(ending) ?? {};
  // An IPAM plugin that has the last word says no version, as no reference plugin does.
  const isOfIpam = place.role === 'main' && call.command === 'DEL';
  const versions: unknown[] = [more['cniVersion'] ?? '1.0.0', '1.1.0'];
  if (isOfIpam) versions.push(undefined);
  const isRight = versions.includes(cniVersion);
  return isRight ? undefined : `the error object is of version ${String(cniVersion)}`;
}

async function podpaceFault(attempt: Attempt): Promise<string | undefined> {
  const { call, ending, helper, from } = attempt;
  if (!isAsSaid(ending, verdictOf(attempt))) return inWords(ending);
  const asked = helper.requests.slice(from).map(({ method }) => method);
  if (call.asks !== undefined && !isDeepStrictEqual(asked, [...call.asks]))
    return `the helper was asked for ${asked.join() || 'nothing'}`;
  const caps = askedCaps(attempt);
  if (call.caps !== undefined && !isDeepStrictEqual(caps, call.caps))
    return `the caps are ${JSON.stringify(caps)}`;
  return versionFault(attempt) ?? (await leftFault(attempt));
}

async function referenceFault(
  attempt: Attempt,
  deviation: Deviation | undefined,
): Promise<string | undefined> {
  const { call, place, ending } = attempt;
  const isAsRule = isAsSaid(ending, verdictOf(attempt)) && (await leftFault(attempt)) === undefined;
  if (deviation !== undefined) {
    if (isAsRule) return `no longer deviates (${deviation.reason})`;
    if (!deviation.reference.some((verdict) => isAsSaid(ending, verdict))) return inWords(ending);
  } else if (!isAsRule) return (await leftFault(attempt)) ?? inWords(ending);
  // That error objects name the version is the specification's, and no reference does it.
  if (ending.status === 1 && objectIn(ending)?.['cniVersion'] !== undefined)
    return 'names the version in its error objects';
  if (call.caps === undefined || ending.status !== 0) return undefined;
  const caps = await tbfCaps(place);
  return isDeepStrictEqual(caps, call.caps) ? undefined : `the caps are ${JSON.stringify(caps)}`;
}

/** Tries a rule on one executable; returns what is wrong. */
async function tryRule(
  rule: Rule,
  { file, lane, helper }: { file: string; lane: Lane; helper: FakeHelper },
): Promise<string[]> {
  const faults: string[] = [];
  let place = await lane.placeFor(rule, helper.socketPath);
  for (const [index, call] of rule.calls.entries()) {
    const name = nameOf(rule, index);
    call.before?.(place);
    const from = helper.requests.length;
    const ending = await callExecutable(file, place, call);
    const attempt = { call, place, ending, helper, from };
    const isPodpace = file === PODPACE;
    const fault = await (isPodpace
      ? podpaceFault(attempt)
      : referenceFault(attempt, deviationOf(name)));
    if (fault !== undefined)
      faults.push(`${isPodpace ? 'podpace' : 'reference'}: ${name} (${rule.source}): ${fault}`);
    if (call.command === undefined && ending.status === 0)
      place = { ...place, result: objectIn(ending) };
  }
  return faults;
}

async function tryAll(t: ExecutionContext, rules: readonly Rule[]): Promise<string[]> {
  const faults: string[] = [];
  const left = rules.values();
  const work = async (): Promise<void> => {
    const [lane, helper] = [new Lane(t), await startFakeHelper(t)];
    for (const rule of left)
      for (const file of [REFERENCES[rule.role], PODPACE])
        faults.push(...(await tryRule(rule, { file, lane, helper })));
  };
  await Promise.all(Array.from({ length: LANES }, work));
  return faults;
}

for (const [what, rules] of Object.entries(TABLES)) {
  test.serial(what, async (t) => {
    // Many times what a quiet machine takes.
    t.timeout(900_000);
    t.deepEqual(await tryAll(t, rules), []);
    t.log(`${rules.flatMap(({ calls }) => calls).length} calls`);
  });
}

test.serial('deviations are of rules, and calls have names of their own', (t) => {
  const names = Object.values(TABLES)
    .flat()
    .flatMap((rule) => rule.calls.map((_, index) => nameOf(rule, index)));
  t.is(new Set(names).size, names.length);
  const patterns = DEVIATIONS.flatMap(({ rules }) => rules);
  t.deepEqual(
    patterns.filter((pattern) => !names.some((name) => pattern.test(name))),
    [],
  );
});

const RATE = 10_000_000;
const CAPPED = { ingressRate: RATE, ingressBurst: 8_000_000 };

/** What runtimes send for a burst that nobody asked for. */
const PLACEHOLDERS = { containerd: 4_294_967_295, 'CRI-O': 34_359_738_359 } as const;

for (const [runtime, burst] of Object.entries(PLACEHOLDERS)) {
  test.serial(
    `the burst that ${runtime} sends when nobody asked for one is no burst`,
    async (t) => {
      const [lane, helper] = [new Lane(t), await startFakeHelper(t)];
      const call: Call = { config: { ...CAPPED, ingressBurst: burst }, verdict: {} };
      const chained = { role: 'chained', hasPod: true } as const;
      const reference = await lane.placeFor(chained, helper.socketPath);
      t.is((await callExecutable(REFERENCES.chained, reference, call)).status, 0);
      const options = (await tbfOf(reference.node, HOST))?.options;
      // Bytes: more than a whole minute of the rate goes out at once.
      t.true(Number(options?.burst) > 60 * Number(options?.rate), JSON.stringify(options));
      const own = await lane.placeFor(chained, helper.socketPath);
      t.is((await callExecutable(PODPACE, own, call)).status, 0);
      const { caps } = helper.requests.at(-1)!.params as AttachParams;
      t.deepEqual(caps, { ingress: { rateBitsPerSec: RATE, burstBits: burst } });
      t.true(burstNsOf(caps.ingress as Cap) <= 20_000_000);
    },
  );
}

test.serial('CHECK with the shaping taken away', async (t) => {
  const error = { code: 'check-failed', message: 'no program is there' } as const;
  const [lane, helper] = [new Lane(t), await startFakeHelper(t, refuses('check', error))];
  const chained = { role: 'chained', hasPod: true } as const;
  const place = await lane.placeFor(chained, helper.socketPath);
  const check: Call = { command: 'CHECK', config: CAPPED, verdict: {} };
  t.is((await callExecutable(REFERENCES.chained, place, { ...check, command: 'ADD' })).status, 0);
  inside(place.node, 'tc', 'qdisc', 'del', 'dev', HOST, 'root');
  // The specification wants an error; the reference sees nothing.
  t.is((await callExecutable(REFERENCES.chained, place, check)).status, 0);
  const ending = await callExecutable(PODPACE, place, check);
  t.true(isAsSaid(ending, refusal(103, /no program is there$/)), inWords(ending));
});

const AT_ONCE = 10;

/** Pods of one network on one node, and a place for each. */
function makeNeighbours(t: ExecutionContext, count: number): CallPlace[] {
  const [node, directory] = [makeNetnsFor(t, 'node'), temporaryDirectory(t)];
  return Array.from({ length: count }, (_, index) => ({
    ...{ role: 'main', node, directory, socket: '/run/pp-none.sock', result: undefined },
    ...{ sandbox: makeNetnsFor(t, 'pod'), containerId: `n${index}` },
  }));
}

const callAll = (file: string, places: readonly CallPlace[], command: string): Promise<Ending[]> =>
  Promise.all(places.map((place) => callExecutable(file, place, { command, verdict: {} })));

for (const file of [REFERENCES.main, PODPACE]) {
  const who = path.basename(file);

  test.serial(`${who}: ADD and DEL of ${AT_ONCE} pods at once`, async (t) => {
    const places = makeNeighbours(t, AT_ONCE);
    const added = await callAll(file, places, 'ADD');
    t.deepEqual(added.filter(({ status }) => status !== 0).map(inWords), []);
    const addresses = added.map((ending) => JSON.stringify(objectIn(ending)?.['ips']));
    t.is(new Set(addresses).size, AT_ONCE);
    const [first] = places as [CallPlace];
    t.is((await devicesIn(first.node)).length, AT_ONCE);
    t.is(reservationsOf(first.directory).length, AT_ONCE);
    const removed = await callAll(file, places, 'DEL');
    t.deepEqual(removed.filter(({ status }) => status !== 0).map(inWords), []);
    t.deepEqual([...(await devicesIn(first.node)), ...reservationsOf(first.directory)], []);
  });
}

// No runtime may do that; what it does all the same does no lasting harm. Of ptp's DELs one that
// finds the interface going fails ("no such device").
test.serial(`podpace: ADD and DEL of one pod ${AT_ONCE} times at once`, async (t) => {
  const [place] = makeNeighbours(t, 1) as [CallPlace];
  const places = Array.from({ length: AT_ONCE }, () => place);
  const added = await callAll(PODPACE, places, 'ADD');
  t.true(added.filter(({ status }) => status === 0).length <= 1, added.map(inWords).join('\n'));
  t.deepEqual(added.filter(({ stdout }) => !stdout.startsWith('{')).map(inWords), []);
  const removed = await callAll(PODPACE, places, 'DEL');
  t.deepEqual(removed.filter(({ status }) => status !== 0).map(inWords), []);
  t.deepEqual([...(await devicesIn(place.node)), ...reservationsOf(place.directory)], []);
});
