// Which file podpace gets into, and what is left when it is taken out of a whole directory.

import test from 'ava';
import fc from 'fast-check';
import { ListError } from '../../../../helper/network-list/edit.ts';
import {
  orphanedLists,
  planAddition,
  planRemoval,
  type Change,
  type ConfFiles,
} from '../../../../helper/network-list/plan.ts';
import { LISTS, MULTUS, SINGLES } from '../../../kit/published-lists.ts';

const FLANNEL = LISTS['10-flannel.conflist'] ?? '';
const OVN = SINGLES['10-ovn-kubernetes.conf'] ?? '';

function directory(files: Readonly<Record<string, string>>): ConfFiles {
  return new Map(Object.entries(files));
}

function applied(files: ConfFiles, changes: readonly Change[]): ConfFiles {
  const after = new Map(files);
  for (const change of changes) {
    if (change.after === undefined) after.delete(change.name);
    else after.set(change.name, change.after);
  }
  return after;
}

function reason(files: ConfFiles, wishes: Parameters<typeof planAddition>[1] = {}): string {
  return messageOf(() => planAddition(files, wishes));
}

function messageOf(run: () => unknown): string {
  try {
    run();
    return '';
  } catch (error) {
    return error instanceof ListError ? error.message : String(error);
  }
}

const nobody = (): boolean => false;

test('any directory of published lists: install twice is once, uninstall gives all of it back', (t) => {
  const published = { ...LISTS, ...SINGLES };
  fc.assert(
    fc.property(
      fc.subarray(Object.keys(published), { minLength: 1 }),
      fc.boolean(),
      (names, hasMultus) => {
        const files = directory({
          ...Object.fromEntries(names.map((name) => [name, published[name] ?? ''])),
          ...(hasMultus && { '00-multus.conf': MULTUS }),
          ...{
            'calico-kubeconfig': 'apiVersion: v1',
            '87-podman.conflist.bak': '{"plugins":[{}]}',
          },
        });
        const once = applied(files, planAddition(files, {}).changes);
        t.notDeepEqual(once, files);
        t.deepEqual(planAddition(once, {}).changes, []);
        const { changes, notes } = planRemoval(once, nobody);
        t.deepEqual(applied(once, changes), files);
        t.deepEqual(notes, []);
      },
    ),
    { numRuns: 300 },
  );
});

test('the runtime takes the first by name of .conf, .conflist and .json, and so does install', (t) => {
  const files = directory({
    ...{ '20-a.conflist': FLANNEL, '10-b.conflist': FLANNEL, '00-c.conflist.bak': FLANNEL },
    '05-d.txt': FLANNEL,
  });
  const { list, changes, why } = planAddition(files, {});
  t.is(list, '10-b.conflist');
  t.deepEqual(
    changes.map(({ name }) => name),
    ['10-b.conflist'],
  );
  t.regex(why[0] ?? '', /10-b\.conflist: .*behind its last plugin; it is the first by name of 2/);
  t.is(planAddition(files, { list: '20-a.conflist' }).list, '20-a.conflist');
  t.regex(reason(files, { list: 'x' }), /there is no x: there are 10-b\.conflist, 20-a\.conflist/);
});

test('CRI-O takes the network that it was told', (t) => {
  const files = directory({
    '10-a.conflist': FLANNEL,
    '20-b.conflist': LISTS['10-aws.conflist'] ?? '',
  });
  const { list, why } = planAddition(files, { defaultNetwork: 'aws-cni' });
  t.is(list, '20-b.conflist');
  t.regex(why[0] ?? '', /"aws-cni", which CRI-O takes/);
  t.is(planAddition(files, { defaultNetwork: 'none' }).list, '10-a.conflist');
});

test('of a single configuration a list is made that comes before it, and it stays as it is', (t) => {
  const files = directory({ '10-ovn-kubernetes.conf': OVN, '20-a.conflist': FLANNEL });
  const { list, changes } = planAddition(files, {});
  t.is(list, '10-ovn-kubernetes-podpace.conflist');
  t.is([...applied(files, changes).keys()].toSorted()[0], list);
  t.deepEqual(
    changes.map(({ name, before }) => [name, before]),
    [[list, undefined]],
  );
});

test('the list follows the configuration that it was made of, and goes with it', (t) => {
  const files = directory({ '10-x.conf': OVN });
  const once = applied(files, planAddition(files, {}).changes);
  const changed = new Map([...once, ['10-x.conf', OVN.replace('ovn-kubernetes"', 'other"')]]);
  const { list, changes } = planAddition(changed, {});
  t.is(list, '10-x-podpace.conflist');
  t.regex(changes[0]?.after ?? '', /"name": "other"/);
  // The other CNI has a list now, by the same name or another.
  const gone = new Map([...once, ['10-x.conflist', FLANNEL]]);
  gone.delete('10-x.conf');
  const after = applied(gone, planAddition(gone, {}).changes);
  t.deepEqual([...after.keys()], ['10-x.conflist']);
  // The other CNI was taken off.
  const alone = new Map([...once].filter(([name]) => name !== '10-x.conf'));
  t.regex(reason(alone), /there is no network list/);
  t.deepEqual([...applied(alone, orphanedLists(alone)).keys()], []);
  t.deepEqual(orphanedLists(once), []);
});

test('what a third plugin has added to a list that podpace has made stays', (t) => {
  const files = directory({ '10-x.conf': OVN });
  const once = applied(files, planAddition(files, {}).changes);
  const made = once.get('10-x-podpace.conflist') ?? '';
  const third = made.replace('\n  ]', ',\n    {"type":"istio-cni"}\n  ]');
  const all = new Map([...once, ['10-x-podpace.conflist', third]]);
  t.deepEqual(planAddition(all, {}).changes, []);
  const left = applied(all, planRemoval(all, nobody).changes).get('10-x-podpace.conflist') ?? '';
  const { plugins } = JSON.parse(left) as { plugins: { type: string }[] };
  t.deepEqual(
    plugins.map(({ type }) => type),
    ['ovn-k8s-cni-overlay', 'istio-cni'],
  );
});

test('Multus is left alone where it hands on to another list; nothing may lead it to itself', (t) => {
  const files = directory({ '00-multus.conf': MULTUS, '10-flannel.conflist': FLANNEL });
  const { list, why } = planAddition(files, {});
  t.is(list, '10-flannel.conflist');
  t.regex(why[0] ?? '', /00-multus\.conf is Multus, which hands on to it/);
  // OpenShift: the list that it hands on to is elsewhere.
  t.is(
    planAddition(directory({ '00-multus.conf': MULTUS }), {}).list,
    '00-multus-podpace.conflist',
  );
});

test('a list of the operator is written as it stands, and replaced only where it was installed', (t) => {
  const text = '{"cniVersion":"1.0.0","name":"p","plugins":[{"type":"podpace","ipam":{}}]}\n';
  const own = { name: '10-podpace.conflist', text, mayReplace: nobody };
  const files = directory({ '20-a.conflist': FLANNEL });
  const once = applied(files, planAddition(files, { ownList: own }).changes);
  t.is(once.get('10-podpace.conflist'), text);
  t.deepEqual(planAddition(once, { ownList: own }).changes, []);
  const removal = planRemoval(once, (name, found) => name === own.name && found === text);
  t.deepEqual(applied(once, removal.changes), files);
  // Changed by the operator since: it stays.
  const edited = new Map([...once, ['10-podpace.conflist', text.replace('"p"', '"q"')]]);
  t.regex(
    reason(edited, { ownList: own }),
    /10-podpace\.conflist is there already, and was not installed/,
  );
  const kept = planRemoval(edited, nobody);
  t.deepEqual(kept.changes, []);
  t.regex(kept.notes[0] ?? '', /^10-podpace\.conflist names podpace/);
  t.deepEqual(
    planAddition(edited, { ownList: { ...own, mayReplace: () => true } }).changes.length,
    1,
  );
  t.regex(
    reason(files, { ownList: { ...own, name: '30-p.conflist' } }),
    /would not be taken: 20-a/,
  );
  t.regex(reason(files, { ownList: { ...own, name: '10-p.conf' } }), /must end in \.conflist/);
  t.regex(reason(files, { ownList: { ...own, text: FLANNEL } }), /podpace is not in it/);
});

test('renamed, backed up or written again by others: every entry that was installed goes', (t) => {
  const files = directory({ '10-flannel.conflist': FLANNEL });
  const added = planAddition(files, {}).changes[0]?.after ?? '';
  const moved = directory({ '10-flannel.conflist.cilium_bak': added, '05-x.conflist': added });
  t.deepEqual(
    applied(moved, planRemoval(moved, nobody).changes),
    directory({ '10-flannel.conflist.cilium_bak': FLANNEL, '05-x.conflist': FLANNEL }),
  );
});

test('what cannot be used is named, with the remedy', (t) => {
  const bad: Readonly<Record<string, RegExp>> = {
    '{"plugins':
      /^10-a\.conflist cannot be used: it is not JSON: .*; correct it, or name another file with --list$/,
    '{}': /^10-a\.conflist cannot be used: it is no list/,
  };
  for (const [text, expected] of Object.entries(bad))
    t.regex(reason(directory({ '10-a.conflist': text })), expected);
  t.regex(reason(directory({ '10-a.conf': FLANNEL })), /10-a\.conf cannot be used: .*no "type"/);
  t.regex(reason(directory({})), /no network list: install a main plugin first, or .* --own-list/);
  const foreign = { '10-a.conf': OVN, '10-a-podpace.conflist': FLANNEL };
  // It comes first, so it is the list to be added to.
  t.is(planAddition(directory(foreign), {}).list, '10-a-podpace.conflist');
  t.deepEqual(planRemoval(directory({ '10-a.conflist': '{"podpace"' }), nobody).notes, [
    '10-a.conflist is not JSON, and seems to name podpace: take it out by hand',
  ]);
});

test('of a list of Cilium the settings are named that have it leave podpace there, of no other', (t) => {
  for (const [name, text] of Object.entries({ ...LISTS, ...SINGLES })) {
    const isOfCilium = text.includes('"cilium-cni"');
    for (const files of [
      directory({ [name]: text }),
      directory({ [name]: text, 'x.cilium_bak': '' }),
    ])
      for (const state of [files, applied(files, planAddition(files, {}).changes)]) {
        const why = planAddition(state, {}).why.join('\n');
        const isTold = /cni\.exclusive=false and cni\.customConf=true/.test(why);
        t.is(isTold, isOfCilium, `${name}: ${why}`);
        t.is(why.includes('renamed x.cilium_bak'), isOfCilium && files.size > 1, name);
      }
  }
});
