import test from 'ava';
import { judgeModule, type ModuleFiles } from '../../../../helper/kernel/kernel-modules.ts';

const LIST = `kernel/net/sched/sch_fq_codel.ko:
kernel/net/sched/sch_fq.ko.xz:
kernel/net/netfilter/nf-tables.ko.zst: kernel/net/netfilter/nfnetlink.ko
`;
const NODE: ModuleFiles = {
  directory: '/lib/modules/6.12',
  list: LIST,
  disabled: '0\n',
  modprobe: '/sbin/modprobe\n',
};

const SEEN: readonly [string, ModuleFiles, string, RegExp][] = [
  [
    'not installed',
    { ...NODE, list: LIST.replace(/^.*sch_fq\.ko.*\n/m, '') },
    'sch_fq',
    /^absent: no module sch_fq in \/lib\/modules\/6\.12$/,
  ],
  ['installed, but forbidden', NODE, 'sch_fq', /^not loadable: .*blacklist/],
  ['installed under a name with a dash', NODE, 'nf_tables', /^not loadable: .*nf_tables/],
  [
    'after modules were switched off',
    { ...NODE, disabled: '1\n' },
    'sch_fq',
    /^not loadable: kernel\.modules_disabled is 1/,
  ],
  [
    'where nothing loads modules',
    { ...NODE, modprobe: '\n' },
    'sch_fq',
    /^not loadable .*kernel\.modprobe is empty/,
  ],
  [
    'from a container',
    { ...NODE, list: undefined },
    'sch_fq',
    /cannot be seen: no \/lib\/modules\/6\.12\/modules\.dep$/,
  ],
  [
    'in a kernel without modules',
    { ...NODE, list: undefined, disabled: undefined },
    'sch_fq',
    /^absent: .*loads no modules/,
  ],
];
for (const [what, files, name, expected] of SEEN) {
  test(`why a module is not there: ${what}`, (t) => {
    t.regex(judgeModule(name, files), expected);
  });
}
