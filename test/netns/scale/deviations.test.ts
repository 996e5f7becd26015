// Where podpace does on purpose something else than the reference bandwidth plugin: what goes in,
// what the reference does (its real program, where Debian's containernetworking-plugins has it),
// what podpace does.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import type { JsonObject } from '../../../cni/types.ts';
import type { AttachParams, Cap } from '../../../helper/protocol/messages.ts';
import { burstNsOf } from '../../../helper/shaping/rates.ts';
import { inside, ip, makeNetns, makeNode } from '../../kit/cni-node.ts';
import { refuses, startFakeHelper, type FakeHelper, type Script } from '../../kit/fake-helper.ts';
import { call, type Pod } from '../../kit/pod.ts';
import type { Answer } from '../../kit/plugin.ts';

const REFERENCE = '/usr/lib/cni/bandwidth';

/**
 * How a call ended: the code of its error object; undefined for success, `none` where there was no
 * object.
 */
interface Ending {
  readonly code: number | 'none' | undefined;
  readonly msg: string;
  readonly answer: Answer | undefined;
}

interface Scene {
  readonly pod: Pod;
  readonly helper: FakeHelper;
  readonly reference: (command: string, config: JsonObject) => Ending;
  readonly podpace: (command: string, config: JsonObject) => Promise<Ending>;
}

interface Deviation {
  readonly input: string;
  readonly command: string;
  readonly config: JsonObject;
  /** Code and text of the reference's error; undefined for success. */
  readonly reference: readonly [code: number | 'none', text: RegExp] | undefined;
  readonly podpace: readonly [code: number, text: RegExp] | undefined;
}

const HOST = 'host7';
const RATE = 10_000_000;
/** What containerd and CRI-O send for a burst that nobody asked for. */
const PLACEHOLDERS = { containerd: 4294967295, 'CRI-O': 34359738359 } as const;

const WITHOUT_BURST = { egressRate: RATE };
const REFUSED = [999, /^if rate is set, burst must also be set$/] as const;

const DEVIATIONS: readonly Deviation[] = [
  {
    input: 'a rate without a burst',
    command: 'ADD',
    config: WITHOUT_BURST,
    reference: REFUSED,
    podpace: undefined,
  },
  {
    input: 'a rate with a burst of 0',
    command: 'ADD',
    config: { ingressRate: RATE, ingressBurst: 0 },
    reference: REFUSED,
    podpace: undefined,
  },
  {
    input: 'a rate without a burst in runtimeConfig',
    command: 'ADD',
    config: { runtimeConfig: { bandwidth: { IngressRate: RATE } } },
    reference: REFUSED,
    podpace: undefined,
  },
  {
    input: 'a rate without a burst',
    command: 'CHECK',
    config: WITHOUT_BURST,
    reference: REFUSED,
    podpace: undefined,
  },
  {
    input: 'a rate without a burst',
    command: 'DEL',
    config: WITHOUT_BURST,
    reference: REFUSED,
    podpace: undefined,
  },
  {
    input: 'caps that are none',
    command: 'DEL',
    config: { egressRate: 'fast' },
    reference: [999, /^failed to parse network configuration: /],
    podpace: undefined,
  },
  {
    input: 'a prevResult that is none',
    command: 'DEL',
    config: { ...WITHOUT_BURST, egressBurst: 8_000_000, prevResult: 7 },
    reference: [999, /prevResult|unmarshal/],
    podpace: undefined,
  },
  {
    input: 'a burst above 4 GB',
    command: 'DEL',
    config: { egressRate: RATE, egressBurst: 34359738360 },
    reference: [999, /^burst cannot be more than 4GB$/],
    podpace: undefined,
  },
  {
    input: 'neither caps nor prevResult',
    command: 'ADD',
    config: { prevResult: undefined },
    reference: ['none', /panic/],
    podpace: [7, /^no plugin name provided: there is neither ipam\.type nor prevResult$/],
  },
  {
    input: 'caps without a sense of the range: 8 bit/s',
    command: 'ADD',
    config: { ingressRate: 8, ingressBurst: 8 },
    reference: undefined,
    podpace: [7, /^Cannot cap at 8 bit\/s/],
  },
  {
    input: 'a prevResult without interfaces (Weave Net)',
    command: 'ADD',
    config: { ingressRate: RATE, ingressBurst: 8_000_000, prevResult: { ips: [] } },
    reference: [999, /^no interfaces provided$/],
    podpace: undefined,
  },
  {
    input:
      'a burst without a rate, which both refuse: the code says that the configuration is wrong',
    command: 'ADD',
    config: { egressBurst: 8_000_000 },
    reference: [999, /^if burst is set, rate must also be set$/],
    podpace: [7, /^if burst is set, rate must also be set: /],
  },
  {
    input: 'a rate with a fraction, which both refuse',
    command: 'ADD',
    config: { egressRate: 8000.5, egressBurst: 80 },
    reference: [999, /^failed to parse network configuration: json: cannot unmarshal /],
    podpace: [7, /^Cannot use egressRate: it is 8000\.5, not a whole number of bits$/],
  },
];

function ending(status: number | null, stdout: string, stderr: string): Ending {
  const answer = stdout.startsWith('{') ? (JSON.parse(stdout) as Answer) : undefined;
  const code = status === 0 ? undefined : (answer?.code ?? 'none');
  return { code, msg: answer?.msg ?? stderr, answer };
}

async function makeScene(t: ExecutionContext, script?: Script): Promise<Scene> {
  const node = makeNode(t);
  const sandbox = makeNetns(t, 'pod');
  const name = sandbox.slice(sandbox.lastIndexOf('/') + 1);
  ip(node.netns, 'link', 'add', HOST, 'type', 'veth', 'peer', 'eth0', 'netns', name);
  // Up, the interface has a qdisc of the kernel's own when it has no other.
  ip(node.netns, 'link', 'set', HOST, 'up');
  const helper = await startFakeHelper(t, script);
  const prevResult = {
    cniVersion: '1.0.0',
    interfaces: [{ name: HOST }, { name: 'eth0', sandbox }],
  };
  const config = {
    cniVersion: '1.0.0',
    name: 'pods',
    type: 'bandwidth',
    socket: helper.socketPath,
    prevResult,
  };
  const pod: Pod = { node, sandbox, config };
  const env = {
    CNI_CONTAINERID: 'c1',
    CNI_NETNS: sandbox,
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/usr/lib/cni',
  };
  return {
    pod,
    helper,
    reference: (command, more) => {
      const { status, stdout, stderr } = spawnSync('nsenter', [`--net=${node.netns}`, REFERENCE], {
        env: { ...env, CNI_COMMAND: command },
        input: JSON.stringify({ ...config, ...more }),
        encoding: 'utf8',
      });
      return ending(status, stdout, stderr);
    },
    podpace: async (command, more) => {
      const { status, stdout, stderr } = await call(pod, command, more);
      return ending(status, stdout, stderr);
    },
  };
}

function is(t: ExecutionContext, found: Ending, expected: Deviation['reference']): void {
  t.is(found.code, expected?.[0], found.msg);
  if (expected !== undefined) t.regex(found.msg, expected[1]);
}

const hasReference = fs.existsSync(REFERENCE);

for (const { input, command, config, reference, podpace } of DEVIATIONS) {
  test.serial(`${command} with ${input}`, async (t) => {
    const scene = await makeScene(t);
    if (hasReference) is(t, scene.reference(command, config), reference);
    is(t, await scene.podpace(command, config), podpace);
    const isAsked = podpace === undefined;
    const method = { ADD: 'attach', CHECK: 'check', DEL: 'detach' }[command];
    t.deepEqual(scene.helper.methods() as string[], isAsked ? [method] : []);
  });
}

for (const [runtime, burst] of Object.entries(PLACEHOLDERS)) {
  test.serial(
    `the burst that ${runtime} sends when nobody asked for one is no burst`,
    async (t) => {
      const scene = await makeScene(t);
      const config = { ingressRate: RATE, ingressBurst: burst };
      if (hasReference) {
        is(t, scene.reference('ADD', config), undefined);
        const shown = inside(
          scene.pod.node.netns,
          'tc',
          '-j',
          'qdisc',
          'show',
          'dev',
          HOST,
          'root',
        );
        const [{ options }] = JSON.parse(shown) as [{ options: { rate: number; burst: number } }];
        // Bytes: more than a whole minute of the rate goes out at once.
        t.true(options.burst > 60 * options.rate, shown);
      }
      is(t, await scene.podpace('ADD', config), undefined);
      const [request] = scene.helper.requests;
      const caps = (request?.params as AttachParams | undefined)?.caps;
      t.deepEqual(caps, { ingress: { rateBitsPerSec: RATE, burstBits: burst } });
      t.true(burstNsOf(caps?.ingress as Cap) <= 20_000_000);
    },
  );
}

test.serial('CHECK with the shaping taken away', async (t) => {
  const scene = await makeScene(
    t,
    refuses('check', { code: 'check-failed', message: 'no program is there' }),
  );
  const config = { ingressRate: RATE, ingressBurst: 8_000_000 };
  if (hasReference) {
    is(t, scene.reference('ADD', config), undefined);
    inside(scene.pod.node.netns, 'tc', 'qdisc', 'del', 'dev', HOST, 'root');
    is(t, scene.reference('CHECK', config), undefined);
  }
  is(t, await scene.podpace('CHECK', config), [103, /no program is there$/]);
});

test.serial('ADD leaves the result as it was: there is no IFB device to list', async (t) => {
  const scene = await makeScene(t);
  const config = { egressRate: RATE, egressBurst: 8_000_000 };
  if (hasReference) {
    const { answer } = scene.reference('ADD', config);
    t.is(answer?.interfaces?.length, 3);
    t.regex(answer?.interfaces?.[2]?.name ?? '', /^bwp/);
  }
  const { answer } = await scene.podpace('ADD', config);
  t.deepEqual(answer as JsonObject, scene.pod.config['prevResult']);
});
