// Where the shipped manifests have metrics served, and where they have them scraped.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { parse } from 'yaml';
import { parseConfigFile } from '../../../../helper/config.ts';
import { parseListenAddress } from '../../../../helper/protocol/listen-address.ts';
import { projectRoot } from '../../../../scripts/lib/paths.ts';

interface Container {
  readonly name: string;
  readonly args: readonly string[];
  readonly env: readonly object[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}

interface DaemonSet {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: readonly [Container];
        readonly volumes: readonly { readonly name: string; readonly secret?: object }[];
      };
    };
  };
}

interface Relabeling {
  readonly sourceLabels: readonly [string];
  readonly regex?: string;
  readonly replacement?: string;
  readonly targetLabel?: string;
}

interface PodMonitor {
  readonly spec: {
    readonly podMetricsEndpoints: readonly [{ readonly relabelings: readonly Relabeling[] }];
  };
}

function read(name: string): string {
  return fs.readFileSync(path.join(projectRoot, 'conf', name), 'utf8');
}

function podOf(name: string): DaemonSet['spec']['template']['spec'] {
  return (parse(read(name)) as DaemonSet).spec.template.spec;
}

const NODES = [
  ['10.0.0.7', '10.0.0.7:9844'],
  ['fd00::7', '[fd00::7]:9844'],
] as const;

for (const file of ['kubernetes/base/daemonset.yaml', 'kubernetes/chained/keep-in-list.yaml'])
  for (const [host] of NODES)
    test(`${file}: metrics are served at the node's address, ${host}`, (t) => {
      const [{ name, args }] = podOf(file).containers;
      t.is(name, 'podpaced');
      const flag = '--metrics-address=';
      const [text, ...others] = args.filter((one) => one.startsWith(flag));
      t.deepEqual(others, []);
      const address = text?.slice(flag.length).replace('$(HOST_IP)', host) ?? '';
      t.deepEqual(parseListenAddress(address), { host, port: 9844 });
    });

test('the address is that of the node', (t) => {
  const [{ env }] = podOf('kubernetes/base/daemonset.yaml').containers;
  t.like(
    env.find((one) => 'name' in one && one.name === 'HOST_IP'),
    { valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } },
  );
});

test('what the ConfigMap says of TLS names files of a Secret that need not be there', (t) => {
  const configMap = parse(read('kubernetes/base/configmap.yaml')) as {
    data: Record<string, string>;
  };
  t.deepEqual(parseConfigFile(configMap.data['podpaced.json'] ?? ''), {});
  const [settings = ''] =
    /"metricsCertificate".*/.exec(read('kubernetes/base/configmap.yaml')) ?? [];
  const { metricsCertificate, metricsKey } = parseConfigFile(`{${settings}}`);
  const pod = podOf('kubernetes/base/daemonset.yaml');
  const [{ volumeMounts }] = pod.containers;
  const mount = volumeMounts.find(({ name }) => name === 'metrics-tls');
  // A Secret of type kubernetes.io/tls has these two.
  t.is(metricsCertificate, `${mount?.mountPath}/tls.crt`);
  t.is(metricsKey, `${mount?.mountPath}/tls.key`);
  t.like(
    pod.volumes.find(({ name }) => name === 'metrics-tls'),
    { secret: { optional: true } },
  );
});

for (const [host, expected] of NODES)
  test(`Prometheus scrapes ${expected}`, (t) => {
    const { spec } = parse(read('monitoring/podmonitor.yaml')) as PodMonitor;
    let address = '';
    for (const relabeling of spec.podMetricsEndpoints[0].relabelings) {
      const { sourceLabels, regex = '(.*)', replacement = '$1', targetLabel } = relabeling;
      if (targetLabel !== '__address__') continue;
      t.deepEqual(sourceLabels, ['__meta_kubernetes_pod_host_ip']);
      // Prometheus anchors them at both ends.
      const found = new RegExp(`^(?:${regex})$`).exec(host);
      if (found !== null) address = replacement.replace('$1', found[1] ?? '');
    }
    t.is(address, expected);
  });
