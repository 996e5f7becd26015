// What the lint lets each layer import and use: probes in the places of a tree beside this one, with
// this one's lint, all in one run. Which layer may import which is ARCHITECTURE's list of layers.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { projectRoot } from '../../../../scripts/lib/paths.ts';
import { temporaryDirectory } from '../../../bed/temporary-directory.ts';

/** Ways to write an import: what loads the module, and what takes its types only. */
const VALUE_FORMS = [
  (module: string, n: number) => `import * as all${n} from '${module}';`,
  (module: string, n: number) => `import { one as one${n}, type Two as Two${n} } from '${module}';`,
  (module: string) => `import '${module}';`,
  (module: string, n: number) => `export { one as other${n} } from '${module}';`,
  (module: string) => `export * from '${module}';`,
  (module: string) => `await import('${module}');`,
  (module: string) => `await import(\`${module}\`);`,
];
const TYPE_FORMS = [
  (module: string, n: number) => `import type { Three as Three${n} } from '${module}';`,
  (module: string, n: number) => `export type { Four as Four${n} } from '${module}';`,
  (module: string, n: number) => `export type Five${n} = import('${module}').Five;`,
];
/** Those of CommonJS, for files .cts. */
const COMMON_FORMS = [
  (module: string) => `require('${module}');`,
  (module: string, n: number) => `import all${n} = require('${module}');`,
];

/** For each place, which is a folder or a file, modules that it may not import in any way. */
const REFUSED: Record<string, readonly string[]> = {
  'helper/wire/': [
    ...['../daemon.ts', '../handler.ts', '../install/files.ts', '../protocol/shape.ts'],
    ...['../kernel/bpf.ts', '../shaping/plan.ts', '../control/store.ts', '../../cni/types.ts'],
    ...['../network-list/edit.ts', '../../helper/handler.ts', './../handler.ts'],
    ...['node:fs', 'fs', 'node:net', 'net', 'node:path', 'node:crypto', 'fs/promises'],
    ...['netlink', 'netlink/dist/raw.js', 'koffi', 'commander', 'file:///etc/a.js', '/a.ts'],
  ],
  'helper/protocol/': [
    ...['../daemon.ts', '../handler.ts', '../install/files.ts', '../kernel/bpf.ts'],
    ...['../shaping/plan.ts', '../network-list/edit.ts', '../../cni/types.ts'],
    ...['../../cni/wiring/pair.ts', 'node:net', 'net', 'node:fs', 'fs', 'node:crypto'],
    ...['netlink/dist/raw.js', 'netlink/dist/structs.js'],
  ],
  'helper/protocol/client.ts': [
    ...['node:fs', '../kernel/bpf.ts', '../daemon.ts', 'node:tls', 'node:net', 'net'],
  ],
  'helper/kernel/': [
    ...['../shaping/plan.ts', '../control/store.ts', '../install/files.ts', '../daemon.ts'],
    ...['../network-list/edit.ts', '../../cni/types.ts', '../../cni/wiring/pair.ts'],
    ...['../../test/bed/bpffs.ts', '../../scripts/lib/paths.ts', 'commander', 'node:module'],
  ],
  'helper/shaping/': [
    ...['../kernel/bpf.ts', '../control/store.ts', '../install/files.ts', '../daemon.ts'],
    ...['../network-list/edit.ts', '../../cni/types.ts', '../../helper/handler.ts'],
    ...['../../helper/kernel/bpf.ts', 'node:fs', 'fs', 'node:path', 'netlink/dist/structs.js'],
    ...['../../test/model/node.ts'],
  ],
  'helper/network-list/': [
    ...['../kernel/bpf.ts', '../control/store.ts', '../install/files.ts', '../shaping/plan.ts'],
    ...['../config.ts', '../../cni/config.ts', '../../cni/wiring/pair.ts', '../../cni/json.ts'],
    ...['node:fs', 'fs', 'smol-toml'],
  ],
  'helper/control/': [
    ...['../install/files.ts', '../network-list/edit.ts', '../handler.ts', '../../cni/types.ts'],
    ...['../../helper/handler.ts', '../../scripts/lib/paths.ts', '../../test/kit/netns.ts'],
    ...['netlink/dist/raw.js', 'netlink/dist/structs.js', 'koffi', 'node:child_process'],
  ],
  'helper/install/': [
    ...['../shaping/plan.ts', '../daemon.ts', '../config.ts', '../../cni/types.ts', 'koffi'],
  ],
  'cni/wiring/': [
    ...['../enforce.ts', '../main.ts', '../skel.ts', '../edges.ts', '../commands/add.ts'],
    ...['../config.ts', '../../helper/daemon.ts', '../../helper/install/files.ts'],
    ...['../../helper/control/store.ts', '../../helper/shaping/plan.ts', '../../cni/enforce.ts'],
    ...['netlink', 'netlink/dist/structs.js', 'koffi', 'node:fs', '../../test/kit/netns.ts'],
  ],
  'cni/types.ts': ['./wiring/pair.ts', './config.ts', '../helper/kernel/bpf.ts', 'node:fs'],
  'cni/result.ts': ['./wiring/pair.ts', './enforce.ts', '../helper/daemon.ts', 'fs'],
  'helper/': [
    ...['../test/bed/testbed.ts', '../scripts/lib/paths.ts', '../cni/enforce.ts'],
    ...['../cni/wiring/pair.ts', 'netlink', 'netlink/dist/raw.js', 'koffi', 'smol-toml'],
  ],
  'cni/': [
    ...['../test/bed/testbed.ts', '../scripts/lib/paths.ts', '../helper/daemon.ts'],
    ...['../helper/install/files.ts', '../helper/network-list/edit.ts', 'netlink', 'koffi'],
  ],
  'cni/commands/': ['../../test/kit/netns.ts', '../../helper/handler.ts', 'netlink/dist/raw.js'],
  'scripts/lib/': ['../../test/bed/testbed.ts', '../../test/kit/netns.ts', '../lab.ts'],
  'scripts/': ['../test/kit/netns.ts', '../helper/daemon.ts', '../cni/main.ts'],
  'test/bed/': [
    '../kit/netns.ts',
    '../bench/record.ts',
    '../unit/a.test.ts',
    '../../scripts/lab.ts',
  ],
  'test/bench/': ['../kit/netns.ts', '../netns/a.test.ts', '../../scripts/bench.ts'],
  'helper/new/': ['../wire/show.ts'],
};

/** Modules of which a place may take types, and no more. */
const REFUSED_VALUES: Record<string, readonly string[]> = {
  'helper/kernel/': ['netlink/dist/raw.js'],
  'helper/config.ts': ['./daemon.ts', './kernel/bpf.ts', './protocol/client.ts', 'node:fs'],
  'cni/wiring/plan.ts': ['./pair.ts', '../../helper/kernel/bpf.ts', 'node:crypto'],
  'helper/protocol/': ['./client.ts'],
  'test/bench/svg.ts': ['./record.ts', 'node:fs', 'ava', '../../scripts/lib/paths.ts'],
};

const ALLOWED: Record<string, readonly string[]> = {
  'helper/wire/': ['./show.ts', 'netlink/dist/structs.js'],
  'helper/protocol/': ['./shape.ts', '../wire/show.ts', '../../helper/wire/show.ts'],
  'helper/kernel/': ['./bpf.ts', '../wire/show.ts', '../protocol/shape.ts', 'node:fs', 'node:sea'],
  'helper/kernel/netlink-socket.ts': ['netlink/dist/raw.js'],
  'helper/shaping/': ['./plan.ts', '../wire/show.ts', '../protocol/shape.ts'],
  'helper/network-list/': ['./edit.ts', '../../cni/types.ts', 'node:path'],
  'helper/control/': ['../shaping/plan.ts', '../kernel/bpf.ts', '../protocol/client.ts', 'node:fs'],
  'helper/install/': ['../network-list/edit.ts', '../control/store.ts', 'smol-toml'],
  'cni/wiring/': ['../result.ts', '../types.ts', '../../helper/kernel/links.ts', 'node:crypto'],
  'cni/wiring/plan.ts': ['../result.ts', '../../helper/wire/show.ts'],
  'cni/result.ts': ['./json.ts', './types.ts', '../helper/protocol/shape.ts'],
  'helper/': ['./daemon.ts', './control/store.ts', './install/files.ts', 'commander', 'node:net'],
  'helper/config.ts': ['./protocol/shape.ts', './shaping/plan.ts', './wire/show.ts'],
  'cni/': ['./enforce.ts', './wiring/pair.ts', '../helper/control/store.ts', 'node:child_process'],
  'cni/commands/': ['../enforce.ts', '../wiring/pair.ts', '../../helper/protocol/client.ts'],
  'scripts/lib/': ['./paths.ts', 'esbuild', 'node:fs'],
  'scripts/': ['./lib/paths.ts', '../test/bed/testbed.ts', '../test/bench/record.ts'],
  'test/bed/': ['./testbed.ts', '../../scripts/lib/paths.ts', '../../helper/daemon.ts'],
  'test/bench/': ['./record.ts', '../bed/testbed.ts', '../../helper/wire/show.ts'],
  'test/unit/': ['../kit/netns.ts', '../../helper/daemon.ts', 'ava', 'koffi'],
};

/** Folders and files that are pure whatever they say, and files that say so. */
const PURE_PLACES = [
  ...['helper/wire/', 'helper/protocol/', 'helper/shaping/', 'helper/network-list/'],
  ...['cni/types.ts', 'cni/json.ts', 'cni/result.ts', 'cni/versions.ts'],
];
const SAID_PURE = [
  'helper/config.ts',
  'helper/render.ts',
  'cni/wiring/plan.ts',
  'test/bench/svg.ts',
];

const IMPURE_USES = [
  ...['Date.now()', 'new Date()', 'Date', 'performance.now()', 'performance.timeOrigin'],
  ...['Math.random()', "Math['random']()", 'Math', '[Math].map(({ random }) => random())'],
  ...['process.pid', "process.env['A']", 'process.hrtime.bigint()', 'process.stdout.write("")'],
  ...['globalThis', "globalThis['process']", 'global', 'setTimeout(() => 0, 1)', 'clearTimeout(1)'],
  ...['setInterval(() => 0, 1)', 'setImmediate(() => 0)', 'queueMicrotask(() => undefined)'],
  ...['fetch("")', 'crypto.randomUUID()', 'new Intl.DateTimeFormat()', 'eval("")'],
  ...['new Function("")', 'new WebSocket("")', 'console.log(1)', 'import.meta.dirname'],
];
const PURE_USES = [
  ...['Math.max(1, 2)', 'Buffer.alloc(1)', 'new Map()', 'new TextDecoder()', 'JSON.parse("1")'],
  ...['((process: number) => process)(1)', '({ Date: 1 }).Date', '1 as unknown as Date'],
  ...['(0 as unknown as { performance: number }).performance', 'structuredClone(1)'],
];

interface Probe {
  readonly line: string;
  readonly isRefused: boolean;
}

/** Lines for each file of the tree of probes. */
const probes = new Map<string, Probe[]>();

/** A name for what each line declares: all of one file must differ. */
let lines = 0;

function addProbes(place: string, isRefused: boolean, written: readonly string[], ending = 'ts') {
  const file = place.endsWith('/') ? `${place}probe.${ending}` : place;
  const former = probes.get(file) ?? [];
  probes.set(file, [...former, ...written.map((line) => ({ line, isRefused }))]);
}

type Form = (module: string, n: number) => string;

function addImports(
  modules: Readonly<Record<string, readonly string[]>>,
  isRefused: boolean,
  forms: readonly Form[],
  ending = 'ts',
): void {
  for (const [place, names] of Object.entries(modules)) {
    if (ending !== 'ts' && !place.endsWith('/')) continue;
    const written = names.flatMap((name) => forms.map((form) => form(name, (lines += 1))));
    addProbes(place, isRefused, written, ending);
  }
}

const uses = (expressions: readonly string[]): string[] =>
  expressions.map((expression) => `export const use${(lines += 1)} = ${expression};`);

addImports(REFUSED, true, [...VALUE_FORMS, ...TYPE_FORMS]);
addImports(REFUSED, true, COMMON_FORMS, 'cts');
addImports(REFUSED_VALUES, true, VALUE_FORMS);
addImports(REFUSED_VALUES, false, TYPE_FORMS);
addImports(ALLOWED, false, [...VALUE_FORMS, ...TYPE_FORMS]);
addImports(ALLOWED, false, COMMON_FORMS, 'cts');
for (const place of [...PURE_PLACES, ...SAID_PURE]) {
  addProbes(place, true, uses(IMPURE_USES));
  addProbes(place, false, uses(PURE_USES));
}
for (const place of ['helper/control/', 'helper/', 'cni/', 'test/bench/'])
  addProbes(place, false, uses(['Date.now()', 'Math.random()', 'process.pid']));
for (const place of ['helper/', 'helper/kernel/', 'cni/wiring/', 'scripts/', 'test/bench/svg.ts'])
  addProbes(place, true, ["await import('./' + String(1));"]);

for (const place of ['helper/kernel/', 'cni/', 'scripts/lib/']) {
  const loaders = ['require', 'require.resolve', 'module', "process.getBuiltinModule('node:fs')"];
  addProbes(place, true, uses(loaders), 'cts');
  addProbes(place, false, ['module.exports = process.pid;'], 'cts');
}

interface Report {
  readonly diagnostics: readonly {
    readonly code?: string;
    readonly message: string;
    readonly filename: string;
    readonly labels: readonly { readonly span: { readonly line: number } }[];
  }[];
}

/** Lines of files that the rule refuses: `FILE:LINE`, where the first line is 1. */
const refused = new Set<string>();

function headOf(file: string): string {
  return SAID_PURE.includes(file) ? '// A probe in two\n// lines. Pure.' : '// A probe.\n// Probe.';
}

test.before(async (t) => {
  const undo: (() => void | Promise<void>)[] = [];
  const tree = temporaryDirectory({ teardown: (step) => void undo.push(step) });
  try {
    const write = (file: string, text: string): void => {
      fs.mkdirSync(path.dirname(path.join(tree, file)), { recursive: true });
      fs.writeFileSync(path.join(tree, file), text);
    };
    for (const [file, written] of probes)
      write(file, [headOf(file), ...written.map(({ line }) => line), ''].join('\n'));
    const config = fs.readFileSync(path.join(projectRoot, 'scripts/oxlint.json'), 'utf8');
    // The rule needs no types, and there are none of modules that are not there.
    write('scripts/oxlint.json', config.replace('"typeAware": true', '"typeAware": false'));
    fs.copyFileSync(
      path.join(projectRoot, 'scripts/lib/layers.ts'),
      path.join(tree, 'scripts/lib/layers.ts'),
    );
    const oxlint = path.join(projectRoot, 'node_modules/.bin/oxlint');
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [oxlint, '-c', 'scripts/oxlint.json', '-f', 'json'],
      { cwd: tree, encoding: 'utf8', maxBuffer: 2 ** 28 },
    );
    t.is(stderr, '');
    const { diagnostics } = JSON.parse(stdout) as Report;
    // A file that cannot be parsed is not looked at.
    t.deepEqual(
      diagnostics.filter(({ code }) => code === undefined),
      [],
    );
    for (const { code, filename, labels } of diagnostics)
      if (code === 'podpace(layers)') refused.add(`${filename}:${labels[0]?.span.line}`);
  } finally {
    for (const step of undo) await step();
  }
});

for (const [file, written] of probes) {
  test(`the lint refuses what ${file} may not import or use, and nothing else`, (t) => {
    const linesOfHead = 2;
    const judged = written.map(({ line }, index) => ({
      line,
      isRefused: refused.has(`${file}:${index + 1 + linesOfHead}`),
    }));
    t.deepEqual(
      judged.filter(({ isRefused }, index) => isRefused !== written[index]?.isRefused),
      [],
    );
  });
}
