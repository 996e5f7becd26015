// Attachments that come: as ADD asks for them, as a wish is put in force, and by the first `set` of
// a pod that was added without a cap.

import type { Link } from '../kernel/links.ts';
import type { AttachParams, AttachResult } from '../protocol/messages.ts';
import { nameOf } from '../protocol/pod-names.ts';
import { resolveCaps, ruleOf } from '../shaping/cap-rules.ts';
import { unheldSentences } from '../shaping/problems.ts';
import {
  hostInterfaceIndexesOf,
  hostInterfacesOf,
  isSameAttachment,
  withGsoOf,
  withoutGone,
  type AttachmentRecord,
  type Wish,
} from '../shaping/records.ts';
import type { Aggregates } from './aggregates.ts';
import { hostInterfaceOf, pairsBesideOf, recordOf } from './attach-request.ts';
import type { Enforcement, LoggingNode, Staying } from './enforcement.ts';
import { hostRoutingNotes } from './notices.ts';
import type { Removal } from './removal.ts';
import type { Wishes } from './wishes.ts';

export type Attached = Pick<AttachResult, 'notices'> & Required<Pick<AttachResult, 'held'>>;

/** What brings attachments to a node, and takes them away. */
export interface Machinery {
  readonly node: LoggingNode;
  readonly wishes: Wishes;
  readonly aggregates: Aggregates;
  readonly enforcement: Enforcement;
  readonly removal: Removal;
}

export class Attaching {
  readonly #machinery: Machinery;

  constructor(machinery: Machinery) {
    this.#machinery = machinery;
  }

  /**
   * Caps an attachment, and routes its packets past the IP stack where that is asked for; called
   * again for the same one it changes both. Undoes itself when it fails. Returns what to know
   * although it succeeded.
   */
  async attach(params: AttachParams & Pick<Wish, 'addedAt'>): Promise<Attached> {
    const { node, wishes, enforcement } = this.#machinery;
    const link = await hostInterfaceOf(node.datapath.rt, params);
    const former = node.store.readAttachment(params);
    const addedAt = former?.addedAt ?? params.addedAt;
    const wanted = withGsoOf(await this.recordOf(params, link, addedAt), former);
    await this.makeRoom(link.index, former);
    const { record, result: view } = await this.replace(former, wanted, (change) =>
      enforcement.enforce(change),
    );
    wishes.remove(record);
    const held = hostInterfacesOf(record).map(({ hostInterface }) => hostInterface);
    const notices = unheldSentences(record);
    if (record.hostRouting === undefined) return { notices, held };
    const known = await hostRoutingNotes(view);
    return { notices: [...notices, ...known.map(({ text }) => text)], held };
  }

  /**
   * The record of what is asked for at a host interface, as the operator's rules have it, without
   * aggregates.
   */
  async recordOf(
    params: AttachParams,
    link: Link,
    addedAt = new Date().toISOString(),
  ): Promise<AttachmentRecord> {
    const { datapath, store, capRules = [] } = this.#machinery.node;
    const others = store
      .readAttachments()
      .filter((record) => !isSameAttachment(record, params))
      .filter(({ hostInterfaceIndex }) => hostInterfaceIndex !== link.index);
    const taken = new Set(others.flatMap(hostInterfaceIndexesOf));
    const pairs = await pairsBesideOf(datapath.rt, params, link, taken);
    const { caps, capSource: by, podNamespace } = params;
    const asked = { caps, ...(by !== undefined && { by }) };
    const resolved = resolveCaps(asked, ruleOf(capRules, podNamespace));
    return { ...recordOf(params, link, pairs, addedAt), ...resolved };
  }

  /**
   * Has no other attachment claim a host interface. An index belongs to one device: whoever else
   * was made of it is gone. Who has it beside another one gives it up: it was made for an
   * attachment of its own.
   */
  async makeRoom(ifindex: number, former: AttachmentRecord | undefined): Promise<void> {
    const { node, removal } = this.#machinery;
    const others = node.store.readAttachments().filter((record) => record !== former);
    const stale = others.filter(({ hostInterfaceIndex }) => hostInterfaceIndex === ifindex);
    if (stale.length > 0) await removal.remove(stale);
    for (const record of others) {
      const left = withoutGone(record, (index) => index === ifindex);
      if (left !== undefined && left !== record) node.store.writeAttachment(left);
    }
  }

  /**
   * Puts a record in force, as `enforce` does, in place of the former one of the same attachment,
   * or leaves everything as it was. Aggregates that it goes on using keep their clocks.
   */
  async replace<T>(
    former: AttachmentRecord | undefined,
    wanted: AttachmentRecord,
    enforce: (change: Staying) => Promise<T>,
  ): Promise<{ readonly record: AttachmentRecord; readonly result: T }> {
    const { node, aggregates } = this.#machinery;
    const record = aggregates.assign(wanted, former);
    node.store.writeAttachment(record);
    try {
      return { record, result: await enforce({ former, next: record }) };
    } catch (error) {
      await this.#undo(record, former);
      throw error;
    }
  }

  async #undo(record: AttachmentRecord, former: AttachmentRecord | undefined): Promise<void> {
    const { node, enforcement, removal } = this.#machinery;
    try {
      if (former === undefined) return await removal.remove([record]);
      node.store.writeAttachment(former);
      await enforcement.enforce({ former: record, next: former });
    } catch (error) {
      node.log(
        'error',
        `Cannot undo a failed change of ${nameOf(record)}: ${(error as Error).message}`,
      );
    }
  }
}
