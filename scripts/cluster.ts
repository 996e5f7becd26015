// ./scripts/cluster [-- COMMAND...]: a Kubernetes of one node, on this kernel, in network, mount and
// process namespaces of its own, with podpace's image. Runs a command in it (a shell unless said),
// with kubectl on its PATH; all is gone when that ends.

import { prepareCluster, startCluster } from './lib/cluster/outside.ts';
import { requireRoot } from './lib/debian.ts';
import { interruptible } from './lib/interruption.ts';

const given = process.argv.slice(2);
const command = given[0] === '--' ? given.slice(1) : given;
if (given[0] === '--help') {
  process.stdout.write('Usage: cluster [-- COMMAND...]: runs it in a Kubernetes of one node\n');
} else {
  process.exitCode = await interruptible(async (signal) => {
    requireRoot('make a cluster');
    await prepareCluster();
    signal.throwIfAborted();
    const cluster = startCluster(command, 'inherit');
    signal.addEventListener('abort', cluster.kill, { once: true });
    return await cluster.ended;
  });
}
