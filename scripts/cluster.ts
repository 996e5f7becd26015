// ./scripts/cluster [--vm] [--kernel SERIES] [-- COMMAND...]: a Kubernetes of one node, on this
// kernel, in network, mount and process namespaces of its own, with podpace's image. With --vm the
// node is a VM, whose kernel has fq. Runs a command on the node (on this kernel a shell unless
// said), with kubectl on its PATH; all is gone when that ends.

import { Command, Option } from 'commander';
import { prepareCluster, startCluster, startClusterOfVm } from './lib/cluster/outside.ts';
import { requireRoot } from './lib/debian.ts';
import { interruptible } from './lib/interruption.ts';
import { kernelSeries, type KernelSeries } from './lib/kernels.ts';

interface Options {
  readonly vm: boolean;
  readonly kernel: KernelSeries;
}

const program = new Command('cluster')
  .description(
    'Runs a command in a Kubernetes of one node, with podpace as an image. All is gone afterwards.',
  )
  .option(
    '--vm',
    'the node is a VM, its clock counts instructions: caps hold, and can be measured',
    false,
  )
  .addOption(new Option('--kernel <series>', 'of the VM').choices(kernelSeries).default('newest'))
  .argument('[COMMAND...]', 'after --; on this kernel a shell unless said')
  .passThroughOptions()
  .parse();
const options = program.opts<Options>();
if (options.vm && program.args.length === 0)
  program.error('error: say the command for the VM after --: nobody types there');

process.exitCode = await interruptible(async (signal) => {
  requireRoot('make a cluster');
  await prepareCluster();
  signal.throwIfAborted();
  const cluster = options.vm
    ? await startClusterOfVm(program.args, options, 'inherit')
    : startCluster(program.args, 'inherit');
  if (signal.aborted) cluster.kill();
  signal.addEventListener('abort', cluster.kill, { once: true });
  return await cluster.ended;
});
