// Carries out the steps of a plan, one after the other. Each is safe to repeat.

import { hasErrno } from '../wire/errors.ts';
import { changeLink } from '../kernel/links.ts';
import { deleteQdisc, replaceQdisc } from '../kernel/qdiscs.ts';
import { encodeFqOptions } from '../wire/fq.ts';
import { TC_H_ROOT } from '../wire/tc-message.ts';
import type { Datapath } from './datapath.ts';
import { restoreExemptions } from './exemptions.ts';
import { DRAFT_FQ_OPTIONS, LEAF_FQ_OPTIONS, ROOT_HANDLE } from '../shaping/holder-qdiscs.ts';
import type { Step } from '../shaping/plan.ts';
import { withPodEnd } from './pod-end.ts';
import { withGso, type ExitRecord } from '../shaping/records.ts';
import type { Store } from './store.ts';

/**
 * Puts back what stood on an exit. Without a record of its own the kernel's default comes by
 * itself.
 */
async function restoreRoot(datapath: Datapath, exit: ExitRecord): Promise<void> {
  const { ifindex, formerQdiscs } = exit;
  try {
    await deleteQdisc(datapath.rt, { ifindex, parent: TC_H_ROOT });
  } catch (error) {
    // ENOENT: the default stands there already.
    if (!hasErrno(error, 'ENOENT', 'ENODEV', 'EINVAL')) throw error;
  }
  for (const { kind, handle, parent, options } of formerQdiscs) {
    const qdisc = { ifindex, parent, handle, kind };
    const raw = Buffer.from(options, 'base64');
    await replaceQdisc(datapath.rt, raw.length === 0 ? qdisc : { ...qdisc, options: raw });
  }
}

async function setRoot(datapath: Datapath, ifindex: number, kind: 'mq' | 'fq'): Promise<void> {
  const root = { ifindex, parent: TC_H_ROOT, handle: ROOT_HANDLE, kind };
  const options = encodeFqOptions(LEAF_FQ_OPTIONS);
  await replaceQdisc(datapath.rt, kind === 'fq' ? { ...root, options } : root);
}

/**
 * Applies one step. Throws KernelError with the kernel's words; a device that vanished meanwhile is
 * no error.
 */
export async function applyStep(datapath: Datapath, store: Store, step: Step): Promise<void> {
  const { maps } = datapath;
  switch (step.kind) {
    case 'make-page':
      return datapath.makePage(step.page);
    case 'remove-page':
      return datapath.removePage(step.page);
    case 'clear-aggregate':
      return datapath.clearAggregate(step.aggregateId);
    case 'police-node':
      return datapath.policing.begin();
    case 'free-node':
      return datapath.policing.end();
    case 'write-continuation':
      return datapath.continueInReceive();
    case 'write-exemptions':
      return restoreExemptions(datapath, step.list, step.texts);
    case 'write-config':
      return maps.aggregateConfig.set(step.aggregateId, step.config);
    case 'write-host-interface':
      return maps.hostInterfaces.set(step.ifindex, step.entry);
    case 'remove-host-interface':
      return void maps.hostInterfaces.delete(step.ifindex);
    case 'write-overhead':
      return maps.upperExits.set(step.ifindex, step.overhead);
    case 'remove-overhead':
      return void maps.upperExits.delete(step.ifindex);
    case 'write-routing':
      return maps[step.entry.map].set(step.entry.key, step.entry.value);
    case 'remove-routing':
      return void maps[step.entry.map].delete(step.entry.key);
    case 'record-exit':
      return store.writeExit(step.exit);
    case 'set-root':
      return setRoot(datapath, step.ifindex, step.qdisc);
    case 'set-leaf': {
      const isDraft = step.isDraft === true;
      const options = encodeFqOptions(isDraft ? DRAFT_FQ_OPTIONS : LEAF_FQ_OPTIONS);
      const { ifindex, parent } = step;
      return replaceQdisc(datapath.rt, { ifindex, parent, kind: 'fq', options });
    }
    case 'attach':
      return datapath.hooks.attach(
        { ifindex: step.ifindex, hook: step.hook },
        datapath.program(step.program),
      );
    case 'come-first':
      return datapath.hooks.comeFirst(
        { ifindex: step.ifindex, hook: step.hook },
        datapath.program(step.program),
      );
    case 'detach':
    case 'drop-pin':
      return datapath.hooks.detach({ ifindex: step.ifindex, hook: step.hook });
    case 'keep-offload': {
      const record = store.readAttachment(step.key);
      if (record !== undefined)
        store.writeAttachment(withGso(record, step.end.hostInterfaceIndex, step.gso));
      return;
    }
    case 'limit-offload':
      return withPodEnd(step.end, (rt, { index }) => changeLink(rt, index, step.limits));
    case 'restore-root':
      if (step.isStillOurs) await restoreRoot(datapath, step.exit);
      return store.removeExit(step.exit.ifindex);
  }
}
