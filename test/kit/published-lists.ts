// Network configurations in the shapes in which main plugins publish theirs: file name and bytes.

/** Lists that podpace can be added to. */
export const LISTS: Readonly<Record<string, string>> = {
  // flannel: Documentation/kube-flannel.yml, cni-conf.json.
  '10-flannel.conflist': `{
  "name": "cbr0",
  "cniVersion": "0.3.1",
  "plugins": [
    {
      "type": "flannel",
      "delegate": {
        "hairpinMode": true,
        "isDefaultGateway": true
      }
    },
    {
      "type": "portmap",
      "capabilities": {
        "portMappings": true
      }
    }
  ]
}
`,
  // k3s: pkg/agent/flannel/setup.go; it has bandwidth since 1.22, entries on one line.
  '10-k3s-flannel.conflist': `{
  "name":"cbr0",
  "cniVersion":"1.0.0",
  "plugins":[
    {
      "type":"flannel",
      "delegate":{
        "forceAddress":true,
        "hairpinMode":true,
        "isDefaultGateway":true
      }
    },
    {
      "type":"portmap",
      "capabilities":{
        "portMappings":true
      }
    },
    {
      "type":"bandwidth",
      "capabilities":{
        "bandwidth":true
      }
    }
  ]
}
`,
  // Calico: manifests/calico.yaml, cni_network_config as install-cni fills it in; no newline at the
  // end.
  '10-calico.conflist': `{
  "name": "k8s-pod-network",
  "cniVersion": "0.3.1",
  "plugins": [
    {
      "type": "calico",
      "log_level": "info",
      "datastore_type": "kubernetes",
      "mtu": 0,
      "ipam": {
          "type": "calico-ipam"
      },
      "policy": {
          "type": "k8s"
      },
      "kubernetes": {
          "kubeconfig": "/etc/cni/net.d/calico-kubeconfig"
      }
    },
    {
      "type": "portmap",
      "snat": true,
      "capabilities": {"portMappings": true}
    },
    {
      "type": "bandwidth",
      "capabilities": {"bandwidth": true}
    }
  ]
}`,
  // kind: images/kindnetd, 10-kindnet.conflist.
  '10-kindnet.conflist': `
{
\t"cniVersion": "0.3.1",
\t"name": "kindnet",
\t"plugins": [
\t{
\t\t"type": "ptp",
\t\t"ipMasq": false,
\t\t"ipam": {
\t\t\t"type": "host-local",
\t\t\t"dataDir": "/run/cni-ipam-state",
\t\t\t"routes": [ { "dst": "0.0.0.0/0" } ],
\t\t\t"ranges": [ [ { "subnet": "10.244.0.0/24" } ] ]
\t\t},
\t\t"mtu": 1500
\t},
\t{
\t\t"type": "portmap",
\t\t"capabilities": {
\t\t\t"portMappings": true
\t\t}
\t}
\t]
}
`,
  // Cilium: plugins/cilium-cni/install, 05-cilium.conflist.
  '05-cilium.conflist': `
{
  "cniVersion": "0.3.1",
  "name": "cilium",
  "plugins": [
    {
       "type": "cilium-cni",
       "enable-debug": false,
       "log-file": "/var/run/cilium/cilium-cni.log"
    }
  ]
}
`,
  // Amazon VPC CNI: misc/10-aws.conflist.
  '10-aws.conflist': `{
  "cniVersion": "0.4.0",
  "name": "aws-cni",
  "disableCheck": true,
  "plugins": [
    {
      "name": "aws-cni",
      "type": "aws-cni",
      "vethPrefix": "eni",
      "mtu": "9001",
      "podSGEnforcingMode": "strict",
      "pluginLogFile": "/var/log/aws-routed-eni/plugin.log",
      "pluginLogLevel": "DEBUG"
    },
    {
      "type": "portmap",
      "capabilities": {"portMappings": true},
      "snat": true
    }
  ]
}
`,
  // As Go prints one, after Istio has added itself (cni/pkg/install): keys sorted, tabs or spaces.
  '10-istio.conflist':
    '{\r\n  "cniVersion": "1.0.0",\r\n  "name": "k8s-pod-network",\r\n  "plugins": [\r\n    {\r\n' +
    '      "type": "ptp"\r\n    },\r\n    {\r\n      "ambient_enabled": true,\r\n      "name": "istio-cni",\r\n' +
    '      "type": "istio-cni"\r\n    }\r\n  ]\r\n}\r\n',
  // As jq -c leaves one.
  '10-compact.conflist':
    '{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"bridge","ipam":{"type":"host-local"}},{"type":"bandwidth","ingressRate":123}]}',
};

/** Single configurations: a list is made of them. */
export const SINGLES: Readonly<Record<string, string>> = {
  // OVN-Kubernetes: go-controller/pkg/config, WriteCNIConfig.
  '10-ovn-kubernetes.conf':
    '{"cniVersion":"1.0.0","name":"ovn-kubernetes","type":"ovn-k8s-cni-overlay","ipam":{},"dns":{},"logFile":"/var/log/ovn-kubernetes/ovn-k8s-cni-overlay.log"}',
  // Weave Net: prog/weave-kube/10-weave.conf before it was a list.
  '10-weave.conf': `{
    "cniVersion": "0.3.0",
    "name": "weave",
    "type": "weave-net",
    "hairpinMode": true
}
`,
};

/** Multus: what its daemon writes before the list that it hands on to. */
export const MULTUS = `{"capabilities":{"bandwidth":true,"portMappings":true},"cniVersion":"0.3.1","logLevel":"verbose","logToStderr":true,"name":"multus-cni-network","clusterNetwork":"/host/etc/cni/net.d/10-flannel.conflist","type":"multus-shim"}`;
