import test from 'ava';
import { parse } from 'yaml';
import { AccessError, accessInPod, accessOf } from '../../../../helper/cluster/access.ts';
import { ShapeError } from '../../../../helper/protocol/shape.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** As `kubeadm init` writes admin.conf. */
const KUBEADM = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${base64('CA')}
    server: https://192.168.0.4:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
kind: Config
preferences: {}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: ${base64('CERTIFICATE')}
    client-key-data: ${base64('KEY')}
`;

/** As the kubelet writes kubelet.conf after its certificate was renewed first. */
const KUBELET = `apiVersion: v1
clusters:
- cluster:
    certificate-authority: pki/ca.crt
    server: "https://[fd00::1]:6443/k8s/"
    tls-server-name: api.example
  name: default-cluster
contexts:
- context: {cluster: default-cluster, namespace: default, user: default-auth}
  name: default-context
current-context: default-context
kind: Config
users:
- name: default-auth
  user:
    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem
    client-key: /var/lib/kubelet/pki/kubelet-client-current.pem
`;

const read = (text: string) => accessOf(parse(text), '/etc/kubernetes');

test("kubeadm's and the kubelet's files are read", (t) => {
  t.deepEqual(read(KUBEADM), {
    ...{ host: '192.168.0.4', port: 6443, pathPrefix: '', ca: { text: 'CA' } },
    credentials: { certificate: { text: 'CERTIFICATE' }, key: { text: 'KEY' } },
  });
  const pem = { file: '/var/lib/kubelet/pki/kubelet-client-current.pem' };
  t.deepEqual(read(KUBELET), {
    ...{ host: 'fd00::1', port: 6443, pathPrefix: '/k8s', serverName: 'api.example' },
    ca: { file: '/etc/kubernetes/pki/ca.crt' },
    credentials: { certificate: pem, key: pem },
  });
});

const user = (text: string): string => KUBEADM.replace(/ {4}client-cert[^]*$/, text);

test('a token may stand there or in a file, and the file wins', (t) => {
  t.deepEqual(read(user('    token: abc\n')).credentials, { token: { text: 'abc' } });
  t.deepEqual(read(user('    token: abc\n    tokenFile: t\n')).credentials, {
    token: { file: '/etc/kubernetes/t' },
  });
});

const refused: readonly [text: string, why: RegExp][] = [
  [user('    exec: {command: aws}\n'), /"exec", which podpaced does not support/],
  [user('    auth-provider: {name: gcp}\n'), /"auth-provider", which/],
  [user('    username: admin\n    password: x\n'), /"username", which/],
  [user('    {}\n'), /neither a token nor a client certificate/],
  [KUBEADM.replace('https:', 'http:'), /must be a URL with https, got "http:/],
  [KUBEADM.replace('https://192.168.0.4:6443', 'localhost'), /must be a URL with https/],
  [KUBEADM.replace(/ {4}certificate-authority-data: .*\n/, ''), /no certificate-authority/],
  [
    KUBEADM.replace('    server:', '    insecure-skip-tls-verify: true\n    server:'),
    /"insecure-skip-tls-verify", which podpaced does not support/,
  ],
  [KUBEADM.replace('    server:', '    proxy-url: http://x\n    server:'), /"proxy-url", which/],
  [KUBEADM.replace('current-context: kub', 'current-context: sub'), /no context "subernetes/],
  [KUBEADM.replace('    cluster: kubernetes', '    cluster: other'), /no cluster "other"/],
  [KUBEADM.replace('    user: kubernetes-admin', '    user: other'), /no user "other"/],
];
for (const [text, why] of refused) {
  test(`a kubeconfig is refused: ${String(why)}`, (t) => {
    t.throws(() => read(text), { instanceOf: AccessError, message: why });
  });
}

for (const text of ['', '[]', 'kind: Config', 'current-context: 7']) {
  test(`${JSON.stringify(text)} is no kubeconfig`, (t) => {
    t.throws(() => read(text), { instanceOf: ShapeError });
  });
}

test('in a pod the environment says where the server is, and the files are at the usual place', (t) => {
  const folder = '/var/run/secrets/kubernetes.io/serviceaccount';
  const environment = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' };
  t.deepEqual(accessInPod(environment), {
    ...{ host: 'fd00::1', port: 6443, pathPrefix: '', ca: { file: `${folder}/ca.crt` } },
    credentials: { token: { file: `${folder}/token` } },
  });
  t.is(accessInPod({ KUBERNETES_SERVICE_HOST: '10.0.0.1' }).port, 443);
  for (const bad of [{}, { ...environment, KUBERNETES_SERVICE_PORT: 'tcp://10.0.0.1:443' }])
    t.throws(() => accessInPod(bad), { instanceOf: AccessError, message: /or give --kubeconfig/ });
});
