// What a document says of the project's files has to be so: paths lead somewhere, names are those
// of the sources, lines fit.

import fs from 'node:fs';
import path from 'node:path';

export const DOCUMENTS = [
  'README.md',
  'ARCHITECTURE.md',
  'test/bench/results/README.md',
  'conf/REFERENCE.md',
  'conf/kubernetes/COMING-FROM.md',
] as const;

const MAX_COLUMNS = 100;

const FENCED = /^```[^]*?^```$/gm;
const CODE_SPAN = /`([^`]+)`/g;
/** From the top of the project; what is built is not there before. */
const PATH =
  /(?<![\w/.])(?:\.\/)?((?:\.ci|bpf|cni|conf|findings|helper|scripts|test)\/[\w./*-]*[\w/*])/g;
const FILE_NAME = /^[\w.-]+\.(?:c|conflist|csv|h|sh|service|ts)$/;
/** A name that cannot be a word of English. */
const NAME = /^(?:[a-z]\w*_\w+|[a-z]+[A-Z]\w*|[A-Z][A-Z\d]*_[A-Z\d_]+)$/;

/** What documents are compared with. */
export interface Sources {
  /** Paths of all files, from the top. */
  readonly files: readonly string[];
  /** All that stands in them. */
  readonly text: string;
  /** Names that are somebody else's. */
  readonly others: ReadonlySet<string>;
}

function isThere(name: string, files: readonly string[]): boolean {
  const wanted = name.replace(/\/$/, '');
  return files.some((file) => path.matchesGlob(file, wanted) || file.startsWith(`${wanted}/`));
}

/** What is wrong in a document, a sentence for each. */
export function faultsOf(document: string, { files, text, others }: Sources): string[] {
  const long = document
    .split('\n')
    .flatMap((line, index) =>
      line.length > MAX_COLUMNS ? [`line ${index + 1} is longer than ${MAX_COLUMNS}`] : [],
    );
  const paths = new Set([...document.matchAll(PATH)].map(([, name = '']) => name));
  const spans = [...document.replaceAll(FENCED, '').matchAll(CODE_SPAN)];
  const words = new Set(spans.map(([, code = '']) => code).filter((code) => !others.has(code)));
  const fileNames = [...words].filter((word) => FILE_NAME.test(word));
  const names = [...words].filter((word) => NAME.test(word));
  return [
    ...long,
    ...[...paths].filter((name) => !isThere(name, files)).map((name) => `there is no ${name}`),
    ...fileNames
      .filter((name) => !files.some((file) => path.basename(file) === name))
      .map((name) => `there is no file ${name}`),
    ...names
      .filter((name) => !text.includes(name))
      .map((name) => `${name} is in none of the sources`),
  ];
}

/** Names that documents quote and no source has: the kernel's, Node's, Kubernetes', Calico's. */
const OTHERS = new Set([
  'CONFIG_NET_SCH_FQ',
  'GLIBC_TUNABLES',
  'LD_AUDIT',
  'LD_LIBRARY_PATH',
  'LD_PRELOAD',
  'NODE_CHANNEL_FD',
  'bpf_endian.h',
  'bpf_helpers.h',
  'egressBandwidth',
  'ingressMaxConnections',
  'ingressPacketRate',
  'nlsockaddrToObject',
  'nodeSelector',
]);

/** What the documents below `root` say that is not so, a sentence for each. */
export function documentFaults(root: string): string[] {
  const all = fs.globSync('{.ci,bpf,cni,conf,findings,helper,scripts,test}/**/*', {
    cwd: root,
    withFileTypes: true,
  });
  const files = all
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)));
  const read = (file: string): string => fs.readFileSync(path.join(root, file), 'utf8');
  const text = files
    .filter((file) => /\.(?:c|cts|h|ts)$/.test(file) && !file.endsWith('lib/documents.ts'))
    .map(read)
    .join('\n');
  const sources = { files, text, others: OTHERS };
  return DOCUMENTS.flatMap((document) =>
    faultsOf(read(document), sources).map((fault) => `${document}: ${fault}`),
  );
}
