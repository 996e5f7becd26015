// A rule of the lint: what each layer of the source may import, and that what calls itself pure is.
// What is not allowed here is refused, by whatever way it is written: statically, dynamically, as a
// type, by require(). oxlint loads this file by itself (scripts/oxlint.json).

import fs from 'node:fs';
import { isBuiltin } from 'node:module';
import path from 'node:path';

/**
 * A place is a folder with all below it (`a/b/`), the files of a folder (`a/b/*`) or a file. What
 * is imported may also be a package's or Node's module; `type ` before it allows its types only.
 * `*` is every package, and `?` what is only known when it is imported.
 */
interface Layer {
  readonly holds: readonly string[];
  readonly imports: readonly string[];
  /** No I/O, no clock, no chance, nothing of the process. */
  readonly isPure?: true;
}

const BYTES = ['helper/wire/', 'helper/protocol/'];
const CNI_FORMATS = ['cni/types.ts', 'cni/json.ts', 'cni/result.ts', 'cni/versions.ts'];
const KERNEL = [
  ...['helper/kernel/', ...BYTES],
  ...['netlink/dist/constants.js', 'netlink/dist/structs.js', 'type netlink/dist/raw.js'],
  ...['node:fs', 'node:os', 'node:path', 'node:sea', 'node:timers/promises', 'node:util'],
];

/** What writes OTLP's protobuf: of the whole only functions that compute. */
const OPEN_TELEMETRY = [
  ...['@opentelemetry/api', '@opentelemetry/otlp-transformer', '@opentelemetry/sdk-metrics'],
];

/** From the bottom to the top. A file is of the first that holds it. */
const LAYERS: readonly Layer[] = [
  {
    holds: ['helper/wire/'],
    imports: ['helper/wire/', 'netlink/dist/constants.js', 'netlink/dist/structs.js'],
    isPure: true,
  },
  // The one file there that acts: it talks over a socket that its caller opens.
  { holds: ['helper/protocol/client.ts'], imports: BYTES },
  { holds: ['helper/protocol/'], imports: BYTES, isPure: true },
  { holds: CNI_FORMATS, imports: [...CNI_FORMATS, ...BYTES], isPure: true },
  // The only user of the addon.
  { holds: ['helper/kernel/netlink-socket.ts'], imports: [...KERNEL, 'netlink/dist/raw.js'] },
  { holds: ['helper/kernel/'], imports: KERNEL },
  { holds: ['helper/shaping/'], imports: ['helper/shaping/', ...BYTES], isPure: true },
  {
    holds: ['helper/network-list/'],
    imports: ['helper/network-list/', ...BYTES, 'cni/types.ts', 'node:path'],
    isPure: true,
  },
  {
    holds: ['helper/metrics/'],
    imports: ['helper/metrics/', 'helper/shaping/', ...BYTES],
    isPure: true,
  },
  {
    holds: ['helper/otlp/'],
    imports: ['helper/otlp/', 'helper/metrics/', ...BYTES, ...OPEN_TELEMETRY],
    isPure: true,
  },
  { holds: ['helper/cluster/'], imports: ['helper/cluster/', ...BYTES, 'node:path'], isPure: true },
  // The only place that talks to the API server.
  {
    holds: ['helper/api-server/'],
    imports: [
      ...['helper/api-server/', 'helper/cluster/', ...BYTES, 'yaml'],
      ...['node:fs', 'type node:http', 'node:https', 'node:path', 'node:timers/promises'],
    ],
  },
  {
    holds: ['helper/control/'],
    imports: [
      ...['helper/control/', 'helper/shaping/', 'helper/kernel/', ...BYTES],
      ...['node:fs', 'node:path', 'node:timers/promises', 'node:util'],
    ],
  },
  {
    holds: ['helper/install/'],
    imports: [
      ...['helper/install/', 'helper/network-list/', 'helper/control/', 'helper/kernel/', ...BYTES],
      ...['node:child_process', 'node:crypto', 'node:fs', 'node:path', 'node:timers/promises'],
      'smol-toml',
    ],
  },
  {
    holds: ['cni/wiring/'],
    imports: ['cni/wiring/', 'helper/kernel/', ...BYTES, ...CNI_FORMATS, 'node:crypto'],
  },
  {
    holds: ['helper/*', 'helper/commands/'],
    imports: [
      ...['helper/', 'cni/process-edges.ts', 'package.json', 'commander', 'ip-cidr'],
      ...['node:events', 'node:fs', 'node:http', 'node:https', 'node:net', 'node:os', 'node:path'],
      ...['node:timers/promises', 'node:util', 'node:zlib'],
    ],
  },
  {
    holds: ['cni/*', 'cni/commands/'],
    imports: [
      ...['cni/', 'helper/control/', 'helper/shaping/', 'helper/kernel/', ...BYTES],
      'helper/version.ts',
      ...['node:child_process', 'node:fs', 'node:net', 'node:path', 'node:timers/promises'],
    ],
  },
  // Is in the executables, and loads what their pieces ask for.
  { holds: ['scripts/lib/packed-main.cjs'], imports: ['*', '?'] },
  // Its manual pages are of the commands that there are.
  {
    holds: ['scripts/lib/release/'],
    imports: ['scripts/lib/', 'helper/cli.ts', 'cni/types.ts', 'package.json', '*'],
  },
  { holds: ['scripts/lib/'], imports: ['scripts/lib/', 'helper/kernel/', 'package.json', '*'] },
  { holds: ['test/bed/'], imports: ['test/bed/', 'scripts/lib/', 'helper/', 'cni/', '*'] },
  {
    holds: ['test/bench/'],
    imports: ['test/bench/', 'test/bed/', 'scripts/lib/', 'helper/', 'cni/', '*'],
  },
  {
    holds: ['scripts/*'],
    imports: ['scripts/', 'helper/kernel/', 'helper/version.ts', 'test/bed/', 'test/bench/', '*'],
  },
  {
    holds: ['test/'],
    imports: ['test/', 'scripts/lib/', 'helper/', 'cni/', 'package.json', '*', '?'],
  },
];

/** Node's globals that a pure file may use; it may use those of the language but these. */
const PURE_OF_NODE = new Set([
  ...['Buffer', 'TextDecoder', 'TextEncoder', 'URL', 'structuredClone'],
  // What it loads is an import.
  'require',
]);
const IMPURE_OF_LANGUAGE = new Set([
  ...['Date', 'Intl', 'Function', 'eval', 'globalThis'],
  ...['Atomics', 'FinalizationRegistry', 'SharedArrayBuffer'],
]);
/** Modules that are not of the project and do no more than compute. */
const PURE_MODULES = new Set([
  ...['netlink/dist/constants.js', 'netlink/dist/structs.js', 'node:path'],
  ...OPEN_TELEMETRY,
]);

function holds(place: string, file: string): boolean {
  if (place.endsWith('/*')) return path.dirname(file) === place.slice(0, -2);
  return place.endsWith('/') ? file.startsWith(place) : file === place;
}

function layerOf(file: string): Layer | undefined {
  return LAYERS.find((layer) => layer.holds.some((place) => holds(place, file)));
}

/** Whether the comment at the head of a source says of it that it is pure. */
function saysPure(source: string): boolean {
  const head = /^(?:#!.*\n)?((?:\/\/.*\n)*)/.exec(source)?.[1] ?? '';
  return /(?:^|[.:] )Pure\b/m.test(head.replaceAll(/\n?\/\/ ?/g, ' ').trim());
}

const pureFiles = new Map<string, boolean>();

/** Whether a file of the project must be pure, by its layer or by what its head says. */
function mustBePure(root: string, file: string): boolean {
  let isPure = pureFiles.get(file);
  if (isPure === undefined) {
    const at = path.join(root, file);
    isPure = layerOf(file)?.isPure ?? (fs.existsSync(at) && saysPure(fs.readFileSync(at, 'utf8')));
    pureFiles.set(file, isPure);
  }
  return isPure;
}

/** What a module is called in the table: a path from the root, or the name of a package. */
function nameOf(file: string, specifier: string): string {
  if (specifier.startsWith('.')) return path.posix.join(path.posix.dirname(file), specifier);
  return isBuiltin(specifier) ? `node:${specifier.replace(/^node:/, '')}` : specifier;
}

/** What is wrong with an import in `file`, if anything is. No `specifier`: it is computed. */
function importFault(
  root: string,
  file: string,
  specifier: string | undefined,
  isType: boolean,
): string | undefined {
  const layer = layerOf(file);
  if (layer === undefined) return `${file} is in no layer: give it one in scripts/lib/layers.ts.`;
  const isOfProject = specifier?.startsWith('.') === true;
  const name = specifier === undefined ? '?' : nameOf(file, specifier);
  const isAllowed = layer.imports.some((allowed) => {
    if (allowed === '*') return specifier !== undefined && !isOfProject;
    return holds(allowed, name) || (isType && allowed === `type ${name}`);
  });
  const what = specifier === undefined ? 'a name that is computed' : name;
  if (!isAllowed)
    return `${layer.holds.join(', ')} may not import ${what}: see scripts/lib/layers.ts.`;
  if (isType || !mustBePure(root, file)) return undefined;
  if (isOfProject ? mustBePure(root, name) : PURE_MODULES.has(name)) return undefined;
  return `${file} is to be pure, and ${what} does not say that it is.`;
}

/** What of oxlint's syntax tree (ESTree with TypeScript's nodes) is looked at. */
interface Syntax {
  readonly type: string;
  readonly name?: string;
  readonly value?: unknown;
  readonly parent?: Syntax;
  readonly importKind?: 'type' | 'value';
  readonly exportKind?: 'type' | 'value';
  readonly source?: Syntax | null;
  readonly expression?: Syntax;
  readonly callee?: Syntax;
  readonly arguments?: readonly Syntax[];
  readonly object?: Syntax;
  readonly property?: Syntax;
  readonly computed?: boolean;
  readonly quasis?: readonly { readonly value: { readonly cooked: string | null } }[];
}

interface Reference {
  readonly identifier: Syntax;
  readonly isTypeReference?: boolean;
}

interface Scope {
  readonly through: readonly Reference[];
  readonly variables: readonly {
    readonly name: string;
    readonly defs: readonly unknown[];
    readonly references: readonly Reference[];
  }[];
}

interface Context {
  readonly filename: string;
  readonly sourceCode: { getScope(node: Syntax): Scope };
  report(problem: { readonly node: Syntax; readonly message: string }): void;
}

/** The text of a literal, or of a template into which nothing is put. */
function textOf({ value, quasis }: Syntax): string | undefined {
  if (typeof value === 'string') return value;
  return quasis?.length === 1 ? (quasis[0]?.value.cooked ?? undefined) : undefined;
}

function isChance({ parent }: Syntax): boolean {
  const { type, computed, property } = parent ?? { type: '' };
  return type !== 'MemberExpression' || computed === true || property?.name === 'random';
}

/** The places in a file that reach what no pure file may. */
function impureReferences(scope: Scope): readonly Syntax[] {
  const ofLanguage = scope.variables
    .filter(({ defs }) => defs.length === 0)
    .flatMap(({ name, references }) =>
      references.filter(
        ({ identifier }) =>
          IMPURE_OF_LANGUAGE.has(name) || (name === 'Math' && isChance(identifier)),
      ),
    );
  const others = scope.through.filter(({ identifier }) => !PURE_OF_NODE.has(identifier.name ?? ''));
  return [...ofLanguage, ...others]
    .filter(({ isTypeReference }) => isTypeReference !== true)
    .map(({ identifier }) => identifier);
}

/**
 * The places in a file that get hold of something which loads modules, other than by a call whose
 * argument says which: `require` by another name, what `module` has, Node's own.
 */
function hiddenLoaders({ through }: Scope): readonly Syntax[] {
  return through
    .map(({ identifier }) => identifier)
    .filter((identifier) => {
      const { parent, name } = identifier;
      const member = parent?.computed === true ? undefined : parent?.property?.name;
      if (name === 'require') return parent?.callee !== identifier;
      if (name === 'module') return member !== 'exports';
      return name === 'process' && member === 'getBuiltinModule';
    });
}

function checkLayers(context: Context) {
  const root = path.resolve(import.meta.dirname, '../..');
  const file = path.relative(root, context.filename);
  const check = (node: Syntax, source: Syntax | null | undefined, isType: boolean): void => {
    const message = importFault(root, file, source ? textOf(source) : undefined, isType);
    if (message !== undefined) context.report({ node, message });
  };
  const checkExport = (node: Syntax): void => {
    if (node.source) check(node, node.source, node.exportKind === 'type');
  };
  const impure = (node: Syntax, what: string): void => {
    if (mustBePure(root, file))
      context.report({ node, message: `${file} is to be pure: it may not use ${what}.` });
  };
  return {
    ImportDeclaration: (node: Syntax) => check(node, node.source, node.importKind === 'type'),
    ExportNamedDeclaration: checkExport,
    ExportAllDeclaration: checkExport,
    ImportExpression: (node: Syntax) => check(node, node.source, false),
    TSImportType: (node: Syntax) => check(node, node.source, true),
    TSExternalModuleReference: (node: Syntax) => check(node, node.expression, false),
    CallExpression: (node: Syntax) => {
      if (node.callee?.name === 'require') check(node, node.arguments?.[0], false);
    },
    MetaProperty: (node: Syntax) => impure(node, 'import.meta'),
    'Program:exit': (node: Syntax) => {
      const scope = context.sourceCode.getScope(node);
      for (const loader of hiddenLoaders(scope)) check(loader, undefined, false);
      for (const reference of impureReferences(scope)) impure(reference, reference.name ?? '');
    },
  };
}

export default { meta: { name: 'podpace' }, rules: { layers: { create: checkLayers } } };
