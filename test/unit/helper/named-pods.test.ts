// What is logged and answered about one attachment names it: as namespace/name where its record has
// one, else as container id and interface.

import test from 'ava';
import { Enforcement, type LoggingNode } from '../../../helper/control/enforcement.ts';
import { createHandler, type HandlerContext } from '../../../helper/handler.ts';
import type { Method, ProtocolError } from '../../../helper/protocol/messages.ts';
import { KernelError } from '../../../helper/wire/errors.ts';
import { contradictionsOf, type AttachmentRecord } from '../../../helper/shaping/records.ts';
import type { Looked } from '../../../helper/shaping/problems.ts';
import { changesOf } from '../../../helper/shaping/repairs.ts';
import { callPlugin } from '../../kit/plugin.ts';

const KEY = { containerId: '0123456789abcdef', ifname: 'eth0' };
const WEB = { podNamespace: 'default', podName: 'web-0' };
const BARE: AttachmentRecord = {
  ...{ ...KEY, network: 'pods', sandbox: '/run/netns/x' },
  ...{ hostInterface: 'veth1', hostInterfaceIndex: 7, egressAggregateId: 4096 },
  caps: { egress: { rateBitsPerSec: 10_000_000 } },
};
const FAILURE = new KernelError('replace qdisc', 'EBUSY', 'no');

/** Each with the attachment as its record has it; returns what is told. */
const TOLD: readonly (readonly [
  what: string,
  tell: (record: AttachmentRecord) => Promise<string[]>,
])[] = [
  ...(['attach', 'detach', 'check', 'set', 'counters'] as const).map(
    (method) =>
      [
        `the log of a failed ${method}`,
        async (record: AttachmentRecord) => {
          const { lines } = await refusedBy(method, record);
          return lines;
        },
      ] as const,
  ),
  ...(['detach', 'check', 'set', 'counters'] as const).map(
    (method) =>
      [
        `the answer to a failed ${method}`,
        async (record: AttachmentRecord) => {
          const { answer } = await refusedBy(method, record);
          return [answer.message];
        },
      ] as const,
  ),
  [
    'a cap that is not in force everywhere',
    async (record) => logged(record, (enforcement) => enforcement.tellOfFailure(FAILURE, record)),
  ],
  [
    'segment offload that cannot be limited',
    async (record) =>
      logged(record, async (enforcement) => {
        const end = { podInterface: 'eth0', sandbox: '/run/netns/x', hostInterfaceIndex: 7 };
        const offload = [{ ...end, key: KEY, rateBitsPerSec: 1e7, formerRate: undefined }];
        const looked = {
          ...{ desired: { offload }, observed: { offload: new Map([[7, FAILURE]]) } },
          plan: { steps: [] },
        };
        await enforcement.carryOut(looked as unknown as Looked);
      }),
  ],
  [
    'records that contradict each other',
    async (record) => {
      const other = { ...BARE, containerId: 'other' };
      return [contradictionsOf([record, other]).get(other) ?? ''];
    },
  ],
  [
    "a pod's interface that was put in order",
    async (record) => {
      const devices = new Map([[7, { ifindex: 7, name: 'veth1' }]]);
      const desired = { exits: [], attachments: [record] };
      return changesOf([{ kind: 'detach', ifindex: 7, hook: 'egress' }], {
        desired,
        observed: { devices },
      } as unknown as Looked);
    },
  ],
  [
    'a record that ADD cannot leave',
    async (record) => {
      const sandbox = '/run/netns/pp-none';
      const { stderr } = await plugin('ADD', record, {
        prevResult: { interfaces: [{ name: 'eth0', sandbox }] },
      });
      return stderr.trim().split('\n');
    },
  ],
  ['an error of ADD', async (record) => [(await plugin('ADD', record, {})).answer?.details ?? '']],
  [
    'what DEL goes on after',
    async (record) => (await plugin('DEL', record, { ipam: 7 })).stderr.trim().split('\n'),
  ],
];

async function logged(
  record: AttachmentRecord,
  act: (enforcement: Enforcement) => void | Promise<void>,
): Promise<string[]> {
  const lines: string[] = [];
  const store = { readAttachment: () => record, readAttachments: () => [record] };
  const log = (_level: string, message: string): void => void lines.push(message);
  await act(new Enforcement({ store, log } as unknown as LoggingNode));
  return lines;
}

async function refusedBy(
  method: Method,
  record: AttachmentRecord,
): Promise<{ readonly lines: string[]; readonly answer: ProtocolError }> {
  const fail = async (): Promise<never> => {
    throw FAILURE;
  };
  const shaper = {
    ...{ attach: fail, detach: fail, check: fail, set: fail, counters: fail },
    named: () => record,
  };
  const { hostInterface, network, sandbox, caps } = record;
  const whole = { ...KEY, network, hostInterface, sandbox, caps };
  const params: Partial<Record<Method, object>> = {
    ...{ attach: whole, detach: KEY, check: whole, counters: { only: KEY } },
    set: { ...KEY, direction: 'egress', changes: { rateBitsPerSec: 20_000_000 } },
  };
  const lines: string[] = [];
  const log = (_level: string, message: string): void => void lines.push(message);
  const handle = createHandler({ shaper, log } as unknown as HandlerContext);
  const response = await handle({ version: 3, method, params: params[method] });
  return { lines, answer: (response as { error: ProtocolError }).error };
}

function plugin(command: string, record: AttachmentRecord, config: object) {
  const { podNamespace, podName } = record;
  const args =
    podName === undefined ? '' : `K8S_POD_NAMESPACE=${podNamespace};K8S_POD_NAME=${podName}`;
  return callPlugin({
    env: {
      ...{ CNI_COMMAND: command, CNI_CONTAINERID: record.containerId, CNI_IFNAME: 'eth0' },
      ...{ CNI_NETNS: '/run/netns/pp-none', CNI_PATH: '/nonesuch', CNI_ARGS: args },
    },
    stdin: { cniVersion: '1.1.0', name: 'pods', socket: '/run/pp-none.sock', ...config },
    edges: {
      loadKernel: () => Promise.reject(new Error('the kernel was asked')),
      keepUncapped: () => Promise.reject(new Error('there is no room')),
    },
  });
}

for (const [what, tell] of TOLD) {
  test(`${what} names the pod, or else the container and its interface`, async (t) => {
    for (const [record, name] of [
      [{ ...BARE, ...WEB }, 'default/web-0'],
      [BARE, '0123456789abcdef/eth0'],
    ] as const) {
      const lines = await tell(record);
      t.true(lines.length > 0);
      for (const line of lines) t.true(line.includes(name), line);
    }
  });
}
