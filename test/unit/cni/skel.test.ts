// The frame of a CNI plugin against what the reference library answers: order, codes, texts.

import test from 'ava';
import fc from 'fast-check';
import { MAX_STDIN_BYTES } from '../../../cni/skel.ts';
import { callPlugin, type PluginCall } from '../../kit/plugin.ts';

const VARIABLES = {
  CNI_CONTAINERID: 'c1',
  CNI_NETNS: '/run/netns/none',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/nonesuch',
};

const CONFIG = { cniVersion: '1.1.0', name: 'pods', type: 'podpace' };

function env(command: string, more: Record<string, string> = {}): Record<string, string> {
  return { CNI_COMMAND: command, ...VARIABLES, ...more };
}

interface Refusal {
  readonly what: string;
  readonly call: PluginCall;
  readonly code: number;
  readonly msg: string | RegExp;
  readonly details?: string;
}

const REFUSALS: readonly Refusal[] = [
  {
    what: 'every variable missing',
    call: { env: { CNI_COMMAND: 'ADD' } },
    code: 4,
    msg: 'required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing',
  },
  {
    what: 'an empty variable',
    call: { env: env('CHECK', { CNI_NETNS: '' }) },
    code: 4,
    msg: 'required env variables [CNI_NETNS] missing',
  },
  {
    what: 'DEL without CNI_IFNAME',
    call: { env: env('DEL', { CNI_NETNS: '', CNI_IFNAME: '' }) },
    code: 4,
    msg: 'required env variables [CNI_IFNAME] missing',
  },
  {
    what: 'GC without CNI_PATH',
    call: { env: { CNI_COMMAND: 'GC' } },
    code: 4,
    msg: 'required env variables [CNI_PATH] missing',
  },
  {
    what: 'STATUS without CNI_PATH',
    call: { env: { CNI_COMMAND: 'STATUS' } },
    code: 4,
    msg: 'required env variables [CNI_PATH] missing',
  },
  {
    what: 'a bad container id, before what is missing',
    call: { env: env('ADD', { CNI_CONTAINERID: '-c1', CNI_PATH: '' }) },
    code: 4,
    msg: 'invalid characters in containerID',
    details: '-c1',
  },
  {
    what: 'a long interface name',
    call: { env: env('ADD', { CNI_IFNAME: 'sixteencharacter' }) },
    code: 4,
    msg: 'interface name is too long',
    details: 'interface name should be less than 16 characters',
  },
  {
    what: 'the interface name ..',
    call: { env: env('ADD', { CNI_IFNAME: '..' }) },
    code: 4,
    msg: 'interface name is . or ..',
  },
  ...['a/b', 'a:b', 'a b', 'a\tb', 'a\u00a0b', 'a\u0085b', 'a\u2003b'].map((name) => ({
    what: `the interface name ${encodeURIComponent(name)}`,
    call: { env: env('ADD', { CNI_IFNAME: name }) },
    code: 4,
    msg: 'interface name contains / or : or whitespace characters',
  })),
  {
    what: 'no input',
    call: { env: env('ADD'), stdin: '' },
    code: 6,
    msg: /^error unmarshall network config: /,
  },
  {
    what: 'no JSON',
    call: { env: env('ADD'), stdin: '{' },
    code: 6,
    msg: /^error unmarshall network config: /,
  },
  {
    what: 'no object',
    call: { env: env('ADD'), stdin: '[]' },
    code: 6,
    msg: /^error unmarshall network config: \[\]/,
  },
  {
    what: 'a name of a wrong type',
    call: { env: env('ADD'), stdin: { ...CONFIG, name: 7 } },
    code: 6,
    msg: 'error unmarshall network config: name is 7, not a string',
  },
  {
    what: 'a version of a wrong type',
    call: { env: env('ADD'), stdin: { ...CONFIG, cniVersion: 1 } },
    code: 6,
    msg: 'error unmarshall network config: cniVersion is 1, not a string',
  },
  {
    what: 'no name',
    call: { env: env('ADD'), stdin: { cniVersion: '1.0.0' } },
    code: 7,
    msg: 'missing network name',
  },
  {
    what: 'a bad name',
    call: { env: env('ADD'), stdin: { ...CONFIG, name: 'a b' } },
    code: 7,
    msg: 'invalid characters found in network name',
    details: 'a b',
  },
  {
    what: 'an unknown command, after its input',
    call: { env: { CNI_COMMAND: 'FOO' }, stdin: CONFIG },
    code: 4,
    msg: 'unknown CNI_COMMAND: FOO',
  },
  {
    what: 'an unknown command without input',
    call: { env: { CNI_COMMAND: 'FOO' }, stdin: '' },
    code: 6,
    msg: /unmarshall/,
  },
  {
    what: 'a command of the prototype',
    call: { env: { CNI_COMMAND: 'constructor' }, stdin: CONFIG },
    code: 4,
    msg: /unknown/,
  },
  {
    what: 'an unknown version',
    call: { env: env('ADD'), stdin: { ...CONFIG, cniVersion: '9.9.9' } },
    code: 1,
    msg: 'incompatible CNI versions',
    details: 'config is "9.9.9", plugin supports ["0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]',
  },
  {
    what: 'no version, which means 0.1.0',
    call: { env: env('ADD'), stdin: { name: 'pods' } },
    code: 1,
    msg: 'incompatible CNI versions',
    details: 'config is "0.1.0", plugin supports ["0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]',
  },
  ...(['CHECK', 'GC', 'STATUS'] as const).flatMap((command) => [
    {
      what: `${command} of an old version`,
      call: {
        env: env(command),
        stdin: { ...CONFIG, cniVersion: command === 'CHECK' ? '0.3.1' : '1.0.0' },
      },
      code: 1,
      msg: `config version does not allow ${command}`,
    },
    {
      what: `${command} of a future version`,
      call: { env: env(command), stdin: { ...CONFIG, cniVersion: '1.2.0' } },
      code: 1,
      msg: `plugin version does not allow ${command}`,
    },
    {
      what: `${command} of a version that is none`,
      call: { env: env(command), stdin: { ...CONFIG, cniVersion: 'new' } },
      code: 6,
      msg: 'cniVersion "new" is not a version',
    },
  ]),
  {
    what: 'too much input',
    call: { env: env('ADD'), stdin: Buffer.alloc(MAX_STDIN_BYTES + 1, ' ') },
    code: 5,
    msg: `error reading from stdin: the network configuration is larger than ${MAX_STDIN_BYTES} bytes`,
    details: 'shorten the configuration or prevResult',
  },
  {
    what: 'input that cannot be read',
    call: {
      env: env('ADD'),
      edges: { readStdin: () => Promise.reject(new Error('EIO: i/o error, read')) },
    },
    code: 5,
    msg: 'error reading from stdin: EIO: i/o error, read',
  },
  {
    what: 'deep nesting',
    call: {
      env: env('ADD'),
      stdin: `{"name":"pods","x":${'['.repeat(400_000)}${']'.repeat(400_000)}}`,
    },
    code: 6,
    msg: /^error unmarshall network config: /,
  },
  {
    what: 'another user than root',
    call: { env: env('ADD'), stdin: CONFIG, euid: 1000 },
    code: 106,
    msg: 'Cannot run ADD: podpace runs as user 1000, not as root',
    details: 'let the container runtime run it, or use sudo',
  },
];

/** Nested deeper than what recursion can walk, and little deeper than what podpace takes. */
const DEPTHS = [1_100, 5_000, 100_000] as const;

for (const depth of DEPTHS) {
  for (const [open, close] of [
    ['[', ']'],
    ['{"x":', '}'],
  ] as const) {
    const nested = `${open.repeat(depth)}1${close.repeat(depth)}`;
    for (const key of [
      'prevResult',
      'ipam',
      'runtimeConfig',
      'egressRate',
      'cni.dev/valid-attachments',
      'own',
    ]) {
      test(`refuses ${key} nested ${depth} deep in ${open}`, async (t) => {
        const stdin = `{"cniVersion":"1.1.0","name":"pods","${key}":${nested}}`;
        for (const command of ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS']) {
          const { status, answer } = await callPlugin({ env: env(command), stdin });
          t.is(status, 1);
          t.is(answer?.code, 6);
          t.is(answer?.msg, 'error unmarshall network config: it is nested more than 1000 deep');
        }
      });
    }
  }
}

/** Controls that a terminal obeys, from each of the kinds that printable() escapes. */
const CONTROLS = String.fromCodePoint(
  0x1b,
  0x5b,
  0x32,
  0x4a,
  0x7f,
  0x9b,
  0x2028,
  0x202e,
  0x200b,
  0x2066,
);

test('no control character of the input reaches stdout or stderr', async (t) => {
  const odd = `a${CONTROLS}z`;
  const prevResult = { interfaces: [{ name: odd, sandbox: odd }] };
  const caps = { egressRate: 1_000_000, egressBurst: 1_000_000 };
  const calls: readonly PluginCall[] = [
    { env: env('ADD', { CNI_CONTAINERID: odd }) },
    { env: env(odd), stdin: CONFIG },
    { env: env('ADD', { CNI_PATH: odd }), stdin: { ...CONFIG, ipam: { type: odd } } },
    { env: env('ADD', { CNI_NETNS: `/${odd}` }), stdin: { ...CONFIG, ...caps, prevResult } },
    {
      env: env('CHECK', { CNI_IFNAME: `e${CONTROLS.slice(0, 2)}` }),
      stdin: { ...CONFIG, ...caps, prevResult },
    },
    ...[
      'name',
      'cniVersion',
      'socket',
      'device',
      'congestionControl',
      'onUnenforceable',
      'exempt',
      'prevResult',
      'ipam',
    ]
      .flatMap((key) =>
        [odd, { [odd]: odd }, [odd]].map((value) => ({ ...CONFIG, ...caps, [key]: value })),
      )
      .flatMap((stdin) => ['ADD', 'DEL', 'CHECK'].map((command) => ({ env: env(command), stdin }))),
    // Passed through.
    { env: env('ADD'), stdin: { ...CONFIG, prevResult } },
    // Notes.
    { env: env('DEL'), stdin: { ...CONFIG, ...caps, socket: `/${odd}` } },
  ];
  for (const call of calls) {
    const { stdout, stderr } = await callPlugin({ stdin: CONFIG, ...call });
    const text = `${stdout}${stderr}`.replaceAll('\n', '');
    t.notRegex(text, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    t.not(text, '');
  }
  const passed = await callPlugin({ env: env('ADD'), stdin: { ...CONFIG, prevResult } });
  t.deepEqual(passed.answer?.interfaces, prevResult.interfaces);
});

for (const { what, call, code, msg, details } of REFUSALS) {
  test(`refuses ${what}`, async (t) => {
    const { status, stdout, stderr, answer } = await callPlugin({ stdin: CONFIG, ...call });
    t.is(status, 1);
    t.is(stderr, '');
    t.is(answer?.code, code, stdout);
    t.is(answer?.details, details);
    t.regex(answer?.cniVersion ?? '', /^\d\.\d\.\d$/);
    if (typeof msg === 'string') t.is(answer?.msg, msg);
    else t.regex(answer?.msg ?? '', msg);
  });
}

test('without a command it tells about itself and succeeds', async (t) => {
  const { status, stdout, stderr } = await callPlugin({ env: {} });
  t.is(status, 0);
  t.is(stdout, '');
  t.is(
    stderr,
    'CNI podpace plugin version test\nCNI protocol versions supported: 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n',
  );
});

test('VERSION reads no input', async (t) => {
  const { status, answer } = await callPlugin({
    env: { CNI_COMMAND: 'VERSION' },
    euid: 1000,
    edges: { readStdin: () => Promise.reject(new Error('must not be read')) },
  });
  t.is(status, 0);
  t.deepEqual(answer, {
    cniVersion: '1.1.0',
    supportedVersions: ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'],
  });
});

test('an error object says the version of the input', async (t) => {
  const { answer } = await callPlugin({
    env: env('ADD'),
    stdin: { ...CONFIG, cniVersion: '0.4.0' },
  });
  t.is(answer?.cniVersion, '0.4.0');
});

test('an error that nobody foresaw has code 999', async (t) => {
  const { answer } = await callPlugin({
    env: env('DEL'),
    stdin: { ...CONFIG, ipam: { type: 'host-local' }, socket: '/run/pp-none.sock' },
    edges: { loadKernel: () => Promise.reject(new TypeError('boom')) },
  });
  t.is(answer?.code, 999);
  t.is(answer?.msg, 'boom');
});

test('a reader that is gone is no crash', async (t) => {
  const { status, stderr } = await callPlugin({
    env: { CNI_COMMAND: 'VERSION' },
    edges: {
      writeStdout: () => {
        throw Object.assign(new Error('EPIPE: broken pipe, write'), { code: 'EPIPE' });
      },
      writeStderr: () => undefined,
    },
  });
  t.is(status, 1);
  t.is(stderr, '');
});

test('any input gives one JSON object and an exit status', async (t) => {
  const value = fc.jsonValue({ maxDepth: 3 });
  const variable = fc.option(fc.string({ maxLength: 20 }), { nil: '' });
  const config = fc.record(
    {
      cniVersion: fc.constantFrom('0.3.1', '1.0.0', '1.1.0', '2'),
      name: fc.constantFrom('pods', 'a b'),
      socket: fc.constant('/run/pp-none.sock'),
      ipam: value,
      prevResult: value,
      runtimeConfig: value,
      egressRate: value,
      device: value,
      mtu: value,
      'cni.dev/valid-attachments': value,
    },
    { requiredKeys: ['socket'] },
  );
  const stdin = fc.oneof(
    config.map((object) => JSON.stringify(object)),
    value.map((any) => JSON.stringify(any)),
    fc.string(),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION', 'add'),
      variable,
      variable,
      stdin,
      async (command, containerId, ifname, text) => {
        const { status, stdout, answer } = await callPlugin({
          env: {
            ...env(command),
            CNI_CONTAINERID: containerId || 'c1',
            CNI_IFNAME: ifname || 'eth0',
          },
          stdin: text,
          edges: { loadKernel: () => Promise.reject(new Error('no kernel here')) },
        });
        if (status === 0) return;
        t.is(status, 1);
        t.is(typeof answer?.code, 'number', stdout);
        t.true((answer?.msg ?? '').length > 0, stdout);
      },
    ),
    { numRuns: 500 },
  );
  t.pass();
});
