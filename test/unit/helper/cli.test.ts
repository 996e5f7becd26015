// The whole command line in the test's process, against a helper that answers as the test says.

import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { runCli } from '../../../helper/cli.ts';
import { eachCounter } from '../../../helper/wire/aggregate.ts';
import { encodeLine } from '../../../helper/protocol/frame.ts';
import { type Method, type ProtocolError } from '../../../helper/protocol/messages.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { refuses, startFakeHelper, type Script } from '../../kit/fake-helper.ts';

/**
 * What a terminal obeys, by number so that this file has none of it: a colour, the bell, DEL, a C1
 * introducer, a line separator, an override of direction, a zero-width space, a tag, half of a
 * pair.
 */
const CONTROLS = [
  0x1b, 0x5b, 0x33, 0x31, 0x6d, 0x07, 0x7f, 0x9b, 0x2028, 0x202e, 0x200b, 0xe0041, 0xd800,
];
const HOSTILE = String.fromCodePoint(...CONTROLS);
/** With line breaks: one that forges a line, one that overwrites it. */
const FORGED = `${HOSTILE}\nState: ok\rState: ok\tx`;

const CAP = {
  rateBitsPerSec: 10_000_000,
  burstNs: 1_000_000,
  horizonNs: 50_000_000,
  aqmTargetNs: 5_000_000,
  aqmIntervalNs: 100_000_000,
  changed: ['rateBitsPerSec'],
};
const KEY = { containerId: 'abc', ifname: `e${HOSTILE}` };
/** Of a helper that does not cut and escape them. */
const POD = { podNamespace: FORGED, podName: FORGED, podUid: FORGED };
const PLACE = { network: FORGED, hostInterface: FORGED, hostInterfaceIndex: 3, sandbox: FORGED };
const TOTAL = {
  ...{ ...eachCounter(() => 0), packets: 1, bytes: 1 },
  sojourn: Array.from({ length: 16 }, () => 0),
};
const EXIT = {
  ...{ name: FORGED, ifindex: 2, kind: FORGED, role: 'uplink', queues: 1, rootQdisc: FORGED },
  ...{ leafQdiscs: [FORGED], departureProgram: true, arrivalProgram: false, problems: [FORGED] },
};

/** An answer to each method in which everything that others choose is hostile. */
const RESULTS: Readonly<Partial<Record<Method, unknown>>> = {
  list: {
    attachments: [
      {
        ...{ ...KEY, ...POD, ...PLACE, kind: 'veth', congestionControl: FORGED, caps: {} },
        ...{
          effective: { egress: CAP },
          problems: [FORGED],
          problemsByDirection: { egress: [FORGED] },
        },
      },
    ],
  },
  status: {
    ...{
      version: FORGED,
      protocolVersion: 3,
      kernel: FORGED,
      state: 'ok',
      attachments: 1,
    },
    ...{
      problems: [FORGED],
      notices: [FORGED],
      exits: [EXIT, { ...EXIT, below: [FORGED] }],
      moreExits: 0,
    },
    ...{ horizonNs: 5e7, aqmTargetNs: 5e6, aqmIntervalNs: 1e8, startedAt: FORGED },
    notEnforced: [{ ...KEY, ...POD, directions: ['egress'] }],
  },
  counters: { attachments: [{ ...KEY, ...POD, ...PLACE, egress: { total: TOTAL, backlogNs: 0 } }] },
  history: { ...KEY, ...POD, stepSeconds: 10, endedMsAgo: 5, effective: { egress: CAP } },
  explain: {
    attachment: {
      ...{ ...KEY, ...POD, ...PLACE, kind: 'veth', caps: {}, effective: { egress: CAP } },
      problems: [],
    },
    entries: [
      {
        ...{ stage: 'classifier', code: 'classifier-missing', severity: 'error' },
        ...{ message: FORGED, remedy: FORGED },
      },
    ],
    ...{ exits: [EXIT], nodeTraffic: 'policed', exempt: [FORGED] },
  },
  uncapped: {
    uncapped: [{ ...KEY, ...POD, ...PLACE, containerId: 'def', kind: 'veth', noPair: FORGED }],
    unknown: [{ hostInterface: FORGED, hostInterfaceIndex: 9, kind: 'veth' }],
  },
  set: { before: CAP, after: CAP },
  uninstall: { restoredExits: [FORGED], detached: 1 },
};

const hostile: Script = ({ version, method }, connection) => {
  connection.write(encodeLine({ version, result: RESULTS[method] }));
};

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(...argv: readonly string[]): Promise<Run> {
  let [stdout, stderr] = ['', ''];
  const edges = {
    stdout: (text: string) => void (stdout += text),
    stderr: (text: string) => void (stderr += text),
  };
  const code = await runCli(argv, edges);
  return { code, stdout, stderr };
}

/** Nothing in the output but characters that are shown, and line feeds. */
function isShown(t: ExecutionContext, { stdout, stderr }: Run): void {
  for (const text of [stdout, stderr]) {
    t.notRegex(text.replaceAll('\n', ''), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
  }
}

const ASKING: readonly (readonly [command: string, args: readonly string[], lines: number])[] = [
  ['status', [], 14],
  ['list', [], 2],
  ['counters', [], 2],
  ['explain', ['abc'], 12],
  ['set', ['abc', '--egress', '--rate', '10M'], 6],
  ['uninstall', [], 1],
];

for (const [command, args, lines] of ASKING) {
  test(`podpaced ${command} escapes what others chose, each cell and sentence in its line`, async (t) => {
    const { socketPath } = await startFakeHelper(t, hostile);
    const text = await run(command, ...args, '--socket', socketPath);
    t.is(text.stderr, '');
    isShown(t, text);
    t.is(text.stdout.split('\n').length, lines + 1, text.stdout);
    t.true(
      text.stdout.includes(
        String.raw`\u001b[31m\u0007\u007f\u009b\u2028\u202e\u200b\udb40\udc41\ud800`,
      ),
    );
  });

  test(`podpaced ${command} --json is JSON of the same values without control characters`, async (t) => {
    const { socketPath } = await startFakeHelper(t, hostile);
    const json = await run(command, ...args, '--json', '--socket', socketPath);
    isShown(t, json);
    t.like(JSON.parse(json.stdout), RESULTS[command as Method] as object);
  });
}

const LISTED = {
  ...PLACE,
  network: 'pods',
  hostInterface: 'pod0',
  caps: {},
  effective: {},
  problems: [],
};
/** A pod with two interfaces, whose former sandbox is still there. */
const SANDBOXES = ['old', 'new'].flatMap((containerId, index) => {
  const addedAt = `2026-01-0${index + 1}T00:00:00.000Z`;
  const pod = { podNamespace: 'default', podName: 'web-0', addedAt };
  return ['eth0', 'net1'].map((ifname) => ({ containerId, ifname, ...LISTED, ...pod }));
});
const UNNAMED = { containerId: 'abc', ifname: 'eth0', ...LISTED };

const UNCAPPED = {
  ...{ containerId: 'bare', ifname: 'eth0', network: 'pods', sandbox: '/run/netns/x' },
  ...{ hostInterface: 'pod7', hostInterfaceIndex: 7, kind: 'veth' },
  ...{ podNamespace: 'default', podName: 'bare-0', addedAt: '2026-01-01T00:00:00.000Z' },
};
const UNKNOWN = { hostInterface: 'pod9', hostInterfaceIndex: 9, kind: 'netkit' };

const named: Script = ({ version, method, params }, connection) => {
  const answers: Readonly<Partial<Record<Method, unknown>>> = {
    list: { attachments: [...SANDBOXES, UNNAMED] },
    counters: { attachments: [{ ...(params as { only?: object }).only, hostInterface: 'pod0' }] },
    uncapped: { uncapped: [UNCAPPED], unknown: [UNKNOWN] },
    set: { before: CAP, after: CAP },
  };
  connection.write(encodeLine({ version, result: answers[method] }));
};

test('set and counters find a pod by its name, mean the newer of two sandboxes, and say so beside the answer', async (t) => {
  const { socketPath } = await startFakeHelper(t, named);
  const note =
    'podpaced: default/web-0 has 2 sandboxes: this is of the newest, new; the older: old\n';
  const set = ['--egress', '--rate', '10M', '--json', '--socket', socketPath];
  const changed = await run('set', 'default/web-0/net1', ...set);
  t.is(changed.stderr, note);
  t.like(JSON.parse(changed.stdout), { containerId: 'new', ifname: 'net1', podName: 'web-0' });
  const counted = await run('counters', 'default/web-0/net1', '--json', '--socket', socketPath);
  t.is(counted.stderr, note);
  t.like(JSON.parse(counted.stdout), { attachments: [{ containerId: 'new', ifname: 'net1' }] });
  const older = await run('set', 'old/net1', ...set);
  t.is(older.stderr, '');
  t.like(JSON.parse(older.stdout), { containerId: 'old', ifname: 'net1' });
  const unclear = await run('set', 'default/web-0', ...set);
  t.is(unclear.code, 1);
  t.is(
    unclear.stderr,
    'podpaced: Cannot tell which pod "default/web-0" is: default/web-0 (eth0, new), default/web-0 (net1, new)\n',
  );
});

test('list --all shows pods without a cap and unknown ones, escaped, as text and JSON', async (t) => {
  const { socketPath } = await startFakeHelper(t, hostile);
  const text = await run('list', '--all', '--socket', socketPath);
  t.is(text.stderr, '');
  isShown(t, text);
  t.is(text.stdout.split('\n').length, 5, text.stdout);
  t.regex(text.stdout, / no cap, and none is possible: /);
  t.regex(
    text.stdout,
    /^- .* unknown \(.*\): no record of it, as of a pod that was there before podpace$/m,
  );
  const json = await run('list', '--all', '--json', '--socket', socketPath);
  isShown(t, json);
  t.like(JSON.parse(json.stdout), {
    ...(RESULTS.list as object),
    ...(RESULTS.uncapped as object),
  });
});

test('a pod without a cap is found by its name, by list --all and set', async (t) => {
  const { socketPath, requests } = await startFakeHelper(t, named);
  const socket = ['--socket', socketPath];
  const json = await run('list', '--all', '--json', 'default/bare-0', ...socket);
  t.deepEqual(JSON.parse(json.stdout), { attachments: [], uncapped: [UNCAPPED], unknown: [] });
  const text = await run('list', '--all', ...socket);
  t.regex(text.stdout, /^default\/bare-0 +bare +eth0 +- .* +no cap$/m);
  t.regex(text.stdout, /^- +- +- .* +unknown \(pod9\): /m);
  t.notRegex((await run('list', ...socket)).stdout, /bare|pod9/);
  const set = await run('set', 'default/bare-0', '--egress', '--rate', '10M', ...socket);
  t.is(set.code, 0, set.stderr);
  t.like(requests.at(-1)?.params, { containerId: 'bare', ifname: 'eth0', direction: 'egress' });
});

test('beside a helper that keeps no record of pods without a cap list --all says so, and set works', async (t) => {
  const old: Script = (request, connection) => {
    if (request.method !== 'uncapped') return named(request, connection);
    const error = { code: 'bad-request', message: '"method" must be one of attach, list' };
    connection.write(encodeLine({ version: request.version, error }));
  };
  const { socketPath } = await startFakeHelper(t, old);
  const list = await run('list', '--all', '--socket', socketPath);
  t.deepEqual([list.code, list.stdout], [1, '']);
  t.regex(
    list.stderr,
    /^podpaced: The podpaced that runs keeps no record of other pods; upgrade podpaced to /,
  );
  const set = await run('set', 'abc', '--egress', '--rate', '10M', '--socket', socketPath);
  t.is(set.code, 0, set.stderr);
});

test('list shows every sandbox of a pod that is named, and says of an unknown one what there is', async (t) => {
  const { socketPath } = await startFakeHelper(t, named);
  const of = async (...selector: string[]) => run('list', ...selector, '--socket', socketPath);
  const column = ({ stdout }: Run): string[] =>
    stdout.split('\n').map((line) => line.split(/ {2,}/)[0] ?? '');
  t.deepEqual(column(await of()), ['POD', ...SANDBOXES.map(() => 'default/web-0'), '-', '']);
  t.deepEqual(column(await of('default/web-0')), [
    'POD',
    ...SANDBOXES.map(() => 'default/web-0'),
    '',
  ]);
  t.is((await of('default/web-0/eth0')).stdout.split('\n').length, 4);
  t.deepEqual(column(await of('abc')), ['POD', '-', '']);
  const { code, stdout, stderr } = await of('default/web-1');
  t.deepEqual([code, stdout], [1, '']);
  t.regex(
    stderr,
    /^podpaced: Cannot find a capped pod "default\/web-1": known are default\/web-0 \(eth0, old\), /,
  );
});

test('errors escape what the helper, the arguments and files say, in one line', async (t) => {
  const refusal: ProtocolError = { code: 'internal', message: FORGED, remedy: FORGED };
  const { socketPath } = await startFakeHelper(t, refuses('list', refusal));
  const directory = temporaryDirectory(t);
  const file = (name: string, text: string): string => {
    fs.writeFileSync(path.join(directory, name), text);
    return path.join(directory, name);
  };
  const lines = [
    ['list', '--socket', socketPath],
    ['list', '--socket', `/nonexistent/${HOSTILE}`],
    ['run', `--${HOSTILE}`],
    [HOSTILE],
    ['run', '--uplink', FORGED],
    ['run', '--exempt', FORGED],
    ['run', '--config', `/nonexistent/${HOSTILE}`],
    ['run', '--config', file('no-json', FORGED)],
    ['run', '--config', file('unknown', JSON.stringify({ [FORGED]: 1 }))],
    ['set', 'abc', '--egress', '--rate', FORGED],
    ['set', FORGED, '--egress', '--rate', '1M', '--socket', socketPath],
  ];
  for (const argv of lines) {
    const failed = await run(...argv);
    t.true(failed.code > 0);
    isShown(t, failed);
    t.regex(failed.stderr, /^(podpaced|error): [^\n]+\n$/, argv.join(' '));
  }
});

const USAGE: readonly (readonly string[])[] = [
  [],
  ['nosuch'],
  ['list', '--nosuch'],
  ['list', 'pod', 'argument'],
  ['list', '--socket'],
  ['status', 'argument'],
  ['set'],
  ['set', 'abc', '--rate', '1M'],
  ['set', 'abc', '--egress'],
  ['set', 'abc', '--egress', '--rate', 'fast'],
  ['run', '--uplink', ''],
  ['run', '--horizon-ms', '0'],
  ['probe', '--pin-dir', 'relative'],
  ['uninstall', '--nosuch'],
];

test('a command line that cannot be understood exits with 2 and asks no helper', async (t) => {
  for (const argv of USAGE) {
    const { code, stdout, stderr } = await run(...argv);
    t.is(code, 2, argv.join(' '));
    t.is(stdout, '');
    t.not(stderr, '');
  }
});

test('what fails or cannot be reached exits with 1', async (t) => {
  for (const argv of [
    ['status'],
    ['list'],
    ['counters'],
    ['set', 'abc', '--egress', '--rate', '1M'],
  ]) {
    const { code, stderr } = await run(...argv, '--socket', '/nonexistent/helper.sock');
    t.is(code, 1, argv.join(' '));
    t.regex(
      stderr,
      /^podpaced: Cannot reach the helper at \/nonexistent\/helper\.sock: .*podpaced run/,
    );
  }
});

test('every command has --help, which names its flags and exits with 0', async (t) => {
  const top = await run('--help');
  t.is(top.code, 0);
  const commands = [...top.stdout.matchAll(/^ {2}([a-z]+) /gm)].map(([, name = '']) => name);
  t.true(
    ['run', 'probe', 'status', 'list', 'counters', 'set', 'uninstall'].every((name) =>
      commands.includes(name),
    ),
  );
  for (const command of commands.filter((name) => name !== 'help')) {
    const { code, stdout, stderr } = await run(command, '--help');
    t.deepEqual([code, stderr], [0, '']);
    t.regex(stdout, new RegExp(`^Usage: podpaced ${command} `));
    // It asks nobody.
    t.regex(stdout, command === 'completion' ? /"bash", "zsh",\s+"fish"/ : /--socket <path>/);
  }
});

test('a configuration nested too deep to show is told of like any other', async (t) => {
  const file = path.join(temporaryDirectory(t), 'config.json');
  fs.writeFileSync(file, `{"socket":${'['.repeat(100_000)}${']'.repeat(100_000)}}`);
  const { code, stderr } = await run('run', '--config', file);
  t.is(code, 2);
  t.regex(stderr, /"socket" must be an absolute path, got \[\[\[/);
  t.true(stderr.length < 300, stderr);
});

const WEB = { podNamespace: 'default', podName: 'web-0' };
const ON_NODE = { network: 'pods', hostInterface: 'veth1', hostInterfaceIndex: 3, sandbox: '/x' };

for (const isNewerCapped of [true, false]) {
  test(`counters of a name means the newer sandbox, which has ${isNewerCapped ? 'a' : 'no'} cap`, async (t) => {
    const [older, newer] = ['2026-01-01T00:00:00.000Z', '2026-01-01T00:00:01.000Z'];
    const capped = {
      ...{ containerId: 'c-capped', ifname: 'eth0', ...WEB, ...ON_NODE, caps: {} },
      ...{ effective: { egress: CAP }, problems: [], addedAt: isNewerCapped ? newer : older },
    };
    const uncapped = {
      ...{ containerId: 'c-free', ifname: 'eth0', ...WEB, ...ON_NODE },
      addedAt: isNewerCapped ? older : newer,
    };
    const results: Partial<Record<Method, unknown>> = {
      list: { attachments: [capped] },
      uncapped: { uncapped: [uncapped], unknown: [] },
      counters: { attachments: [] },
    };
    const helper = await startFakeHelper(t, ({ version, method }, connection) => {
      connection.write(encodeLine({ version, result: results[method] }));
    });
    const { code, stderr } = await run('counters', 'default/web-0', '--socket', helper.socketPath);
    const [meant, other] = isNewerCapped ? ['c-capped', 'c-free'] : ['c-free', 'c-capped'];
    const note = `podpaced: default/web-0 has 2 sandboxes: this is of the newest, ${meant}; the older: ${other}\n`;
    t.true(stderr.startsWith(note), stderr);
    t.is(code, isNewerCapped ? 0 : 1);
    t.is(helper.methods().includes('counters'), isNewerCapped);
    if (!isNewerCapped)
      t.regex(stderr, /default\/web-0 \(eth0, c-free\) sends and receives: it has no cap/);
  });
}
