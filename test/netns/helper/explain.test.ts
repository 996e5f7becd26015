// What `explain` says of a pod on a real node of which somebody damages one object: the code of that
// object, and nothing else that is an error.

import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { UndoStack } from '../../bed/undo.ts';
import { tellsPagesLate } from '../../kit/damage.ts';
import { DAMAGE_FLAGS, makeScene, ROWS, type Row, type Scene } from '../../kit/damaged-objects.ts';
import { startOwnHelper, type TestHelper } from '../../kit/helper.ts';
import { run } from '../../kit/routing-scene.ts';

const POD = { containerId: 'c-pod0', ifname: 'eth0' };
const REPAIR_MS = 3000;
/** The quick look may come between the damage and the question. */
const ATTEMPTS = 15;

/** By what each object is for (ARCHITECTURE.md), not by the code that judges it. */
const CODES: Readonly<Record<string, string>> = {
  aggregate_config: 'config-wrong',
  aggregate_state: 'state-missing',
  aggregate_counters: 'state-missing',
  aggregate_books: 'state-missing',
  host_interfaces: 'host-interface-unknown',
  continuations: 'continuation-missing',
  'exemptions, one gone': 'exemptions-wrong',
  'exemptions, one too many': 'exemptions-wrong',
  'exemptions, one altered': 'exemptions-wrong',
  upper_exits: 'overhead-wrong',
  node_place: 'policing-missing',
  'program where the sockets of the node take packets': 'policing-missing',
  routed_pods: 'host-routing-entry',
  pod_addresses: 'host-routing-entry',
  'program at ingress of pod0': 'classifier-missing',
  'program at egress of pod0': 'delivery-missing',
  'program at ingressLast of pod0': 'host-routing-missing',
  'program at egress of uplink': 'departure-missing',
  'program at ingressLast of uplink': 'host-routing-missing',
  'program at egress of tunnel': 'departure-missing',
};

const shared = new UndoStack();
let scene: Scene;
let helper: TestHelper;
/** Of a kernel without sch_fq no node is whole. */
let standing: readonly string[] = [];

test.before(async () => {
  scene = await makeScene(shared);
  helper = await startOwnHelper(shared, scene.node, scene.directories, DAMAGE_FLAGS);
  const { features = [] } = await helper.ask('status', {});
  const hasFq = features.find(({ name }) => name === 'sch_fq')?.ok === true;
  standing = hasFq ? [] : ['fq-missing'];
});

test.after.always(() => shared.run());

/** The codes of all errors that are told of the pod, in the order of the letters. */
async function errors(): Promise<string[]> {
  const { entries } = await helper.ask('explain', POD);
  return entries
    .filter(({ severity }) => severity === 'error')
    .map(({ code }) => code)
    .toSorted();
}

async function isHealed(): Promise<boolean> {
  return JSON.stringify(await errors()) === JSON.stringify(standing);
}

/** The errors while the object is damaged; tries again where it was put back before the answer. */
async function errorsOfDamaged({ damage }: Row): Promise<string[]> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const before = helper.log();
    await damage(scene);
    const found = await errors();
    if (helper.log() === before) return found;
    await sleep(REPAIR_MS);
  }
  throw new Error('each time it was repaired before it was asked for');
}

async function becomesHealthy(t: ExecutionContext): Promise<void> {
  const endMs = performance.now() + 2 * REPAIR_MS;
  while (!(await isHealed()) && performance.now() < endMs) await sleep(100);
  t.deepEqual(await errors(), standing);
}

test.serial('a healthy pod has no error', (t) => becomesHealthy(t));

test.serial('every damaged object has a code', (t) => {
  const objects = ROWS.map(({ object }) => object);
  t.deepEqual(objects.toSorted(), Object.keys(CODES).toSorted());
});

/** What is told of at once. */
const told = tellsPagesLate() ? ROWS.filter(({ problem }) => problem !== undefined) : ROWS;

for (const row of told) {
  test.serial(`${row.object}: its code and no other, until it is put back`, async (t) => {
    const found = await errorsOfDamaged(row);
    t.deepEqual(found, [...standing, CODES[row.object] ?? ''].toSorted());
    await becomesHealthy(t);
  });
}

/** What is told of host routing although nothing is wrong with it. */
async function routingNotes(): Promise<string[]> {
  const { entries } = await helper.ask('explain', POD);
  return entries
    .filter(({ stage, severity }) => stage === 'routing' && severity === 'info')
    .map(({ code }) => code);
}

test.serial('who checks the packets of host routing, and who does not see them', async (t) => {
  const netns = `/run/netns/${scene.node.name}`;
  const setFilter = (mode: string): void =>
    void run(netns, 'sh', '-c', `echo ${mode} > /proc/sys/net/ipv4/conf/uplink/rp_filter`);
  t.deepEqual(await routingNotes(), []);
  setFilter('1');
  const rules = [
    'add table ip nat',
    'add chain ip nat POSTROUTING { type nat hook postrouting priority 100; }',
    'add rule ip nat POSTROUTING oifname "uplink" masquerade',
  ];
  run(netns, 'nft', rules.join('; '));
  t.deepEqual(await routingNotes(), ['reverse-path-strict', 'netfilter-bypassed']);
  t.deepEqual(await errors(), standing);
  // What the message says to do.
  setFilter('0');
  run(netns, 'nft', 'flush ruleset');
  t.deepEqual(await routingNotes(), []);
});
