// Names and addresses of a report are replaced everywhere, and what belongs together still does.

import test from 'ava';
import fc from 'fast-check';
import { redacted, withoutSecrets } from '../../../helper/redact.ts';

const ID = '4f2a9d0c11e5aabbccddeeff00112233445566778899aabbccddeeff00112233';
const POD = {
  ...{ podNamespace: 'shop', podName: 'web-0', podUid: '0b6e4b6e-8f4c-4f4e-9b0a-000000000001' },
  ...{ containerId: ID, sandbox: '/var/run/netns/cni-1f0c', ifname: 'eth0' },
};

test('a name has one replacement, in its field and in every sentence', (t) => {
  const problem = `shop/web-0 (eth0, ${ID.slice(0, 12)}…) has no cap.`;
  const report = {
    ...{ attachments: [POD], problems: [problem, `Cannot find ${ID}/eth0; see web-0.`] },
    ...{ of: { [`${ID}:eth0`]: 1 }, log: 'cni-1f0c, "shop", web-0' },
  };
  t.deepEqual(redacted(report), {
    attachments: [
      {
        ...{ podNamespace: 'namespace-1', podName: 'pod-1', podUid: 'uid-1' },
        ...{ containerId: 'container-1', sandbox: '/var/run/netns/sandbox-1', ifname: 'eth0' },
      },
    ],
    problems: [
      'namespace-1/pod-1 (eth0, container-1…) has no cap.',
      'Cannot find container-1/eth0; see pod-1.',
    ],
    of: { 'container-1:eth0': 1 },
    log: 'sandbox-1, "namespace-1", pod-1',
  });
});

test('part of another word is no name', (t) => {
  const { log } = redacted({ ...POD, log: 'workshop web-01 xweb-0 web-0.x' }) as { log: string };
  t.is(log, 'workshop web-01 xweb-0 web-0.x');
});

test('addresses of networks and hardware are replaced, those of nobody stay', (t) => {
  const text =
    '10.1.2.3/24 via 10.1.2.3:9844 [2001:db8::7]:443 2001:db8::7 52:54:00:12:34:56, 10.1.2.4.';
  t.is(
    redacted(text),
    'address-1/24 via address-1:9844 [address-2]:443 address-2 mac-1, address-3.',
  );
  const stays =
    '127.0.0.1 ::1 :: 0.0.0.0/0 169.254.1.1 224.0.0.1 ff02::1 255.255.255.255 ' +
    '00:00:00:00:00:00 ff:ff:ff:ff:ff:ff 12:30:45 6.1.0-57 v24.21.0';
  t.is(redacted(stays), stays);
});

test('numbers, truth and keys of the format stay', (t) => {
  const report = { podName: 'state', state: true, count: 3, none: null, list: [1.5, false] };
  t.deepEqual(redacted(report), { ...report, podName: 'pod-1' });
});

/** Names as Kubernetes and other runtimes have them, and such as nobody should have. */
const NAME = fc.oneof(
  fc.stringMatching(/^[a-z][a-z0-9.-]{3,30}[a-z0-9]$/),
  fc.string({ unit: 'grapheme', minLength: 4, maxLength: 20 }),
);

test('no name is left, whatever it is and wherever it stands', (t) => {
  const isFit = (name: string): boolean =>
    !/^(namespace|pod|container|uid|node|sandbox|address|mac)/.test(name) && /\S/.test(name);
  const property = fc.property(NAME.filter(isFit), NAME.filter(isFit), (podName, podNamespace) => {
    fc.pre(!podName.includes(podNamespace) && !podNamespace.includes(podName));
    const report = { podName, podNamespace, text: [`"${podNamespace}/${podName}" (x)`] };
    const { text } = redacted(report) as { text: string[] };
    return text[0] === '"namespace-1/pod-1" (x)';
  });
  t.notThrows(() => fc.assert(property, { numRuns: 2000 }));
});

test('a list is told of without what keeps others out', (t) => {
  const list = {
    ...{ name: 'k8s', etcd_key: 'k', etcd_key_file: '/f', k8s_auth_token: 't', keyring: 'r' },
    plugins: [{ type: 'x', policy: { k8s_client_key: 'c' }, password: 'p', clientSecret: 's' }],
  };
  const gone = '(left out)';
  t.deepEqual(withoutSecrets(list), {
    ...{ name: 'k8s', etcd_key: gone, etcd_key_file: '/f', k8s_auth_token: gone, keyring: 'r' },
    plugins: [
      {
        ...{ type: 'x', policy: { k8s_client_key: gone }, password: gone, clientSecret: gone },
      },
    ],
  });
});
