// The node brought to what it should be: all of it, the devices that something happened to, or what
// somebody damaged in the maps or took off its hook. What was not as the helper had left it is told
// of.

import { about } from '../protocol/pod-names.ts';
import type { Exit } from '../shaping/exits.ts';
import type { ProgramName } from '../wire/datapath-names.ts';
import { placeNamed } from '../wire/hook-place.ts';
import { cappedDirections, nodeProblem, type Problem } from '../shaping/judgement.ts';
import { desiredPrograms, plan, type Step } from '../shaping/plan.ts';
import type { Looked } from '../shaping/problems.ts';
import {
  hostInterfaceIndexesOf,
  ownersOf,
  type AttachmentRecord,
  type Owners,
} from '../shaping/records.ts';
import {
  changesOf,
  exitChangesOf,
  isSameAsBefore,
  knownExits,
  repairOf,
  type KnownExits,
} from '../shaping/repairs.ts';
import type { Enforcement, LoggingNode } from './enforcement.ts';
import { isSameState, stateOfMaps, type MapsState } from './map-watch.ts';
import { observeMaps } from './observe.ts';
import { ProgramWatch, PROGRAM_TURNS } from './program-watch.ts';
import type { Exclusively } from './turns.ts';
import { desiredMaps, desiredPolicing, takeView, type View } from './view.ts';

/**
 * So many have their map entries looked at in one turn: some 10 ms, in which nobody is answered.
 */
const ATTACHMENTS_PER_TURN = 128;

/** What is wrong at a device, or at none: of the pod that it leads to, or else of the node. */
function problemAt(ifindex: number | undefined, text: string, owners: Owners): Problem {
  const owner = ifindex === undefined ? undefined : owners.get(ifindex);
  const scopes = cappedDirections(owner);
  const told = owner === undefined ? text : about(owner, text);
  return { ...nodeProblem(told), code: 'repair-failed', ...(scopes.length > 0 && { scopes }) };
}

/** What has come of a plan. */
interface Outcome {
  readonly done: readonly Step[];
  readonly failures: Problem[];
}

export class Repairing {
  readonly #node: LoggingNode;
  readonly #enforcement: Enforcement;
  readonly #programs: ProgramWatch;
  /** The first time round, the maps may rightly be of another configuration. */
  #hasSeenAll = false;
  #exits: KnownExits = new Map();
  #arrivals: readonly number[] = [];
  /** The maps when they were last compared and all was right. */
  #right: MapsState = [];
  /** With all that they follow from. */
  #wanted:
    | { readonly of: readonly unknown[]; readonly programs: ReadonlyMap<string, ProgramName> }
    | undefined;

  constructor(node: LoggingNode, enforcement: Enforcement) {
    this.#node = node;
    this.#enforcement = enforcement;
    this.#programs = new ProgramWatch(node.datapath, node.precedence);
  }

  /** As they were when the node was last looked at. */
  get exits(): KnownExits {
    return this.#exits;
  }

  /** Brings the whole node to its desired state; returns what could not be done. */
  async all(): Promise<Problem[]> {
    const attachments = this.#node.store.readAttachments();
    this.#node.datapath.policing.tryAgain();
    const view = await takeView(this.#node, attachments, { hasOtherPods: true });
    const failures = await this.#carryOutExits(view);
    this.#arrivals = view.desired.arrivals;
    this.#programs.reset();
    this.#hasSeenAll = true;
    const owners = ownersOf(attachments);
    const refused = [...view.plan.problems].map(([ifindex, text]) =>
      problemAt(ifindex, text, owners),
    );
    return [...failures, ...refused];
  }

  /** Brings some devices into order; all of the node when it is not known which. */
  async devices(changed: ReadonlySet<number> | undefined): Promise<void> {
    const { store, log } = this.#node;
    const all = store.readAttachments();
    if (all.length === 0 && store.readExits().length === 0) return;
    const isAny = changed === undefined;
    const scope = { devices: [...(changed ?? [])], hasOtherPods: isAny, hasUplinks: isAny };
    const view = await takeView(this.#node, isAny ? all : [], scope);
    for (const { text } of await this.#carryOutExits(view))
      log('error', `Cannot follow a change of the node's devices: ${text}`);
  }

  /** These went, with all that stood there. */
  forget(gone: ReadonlySet<number>): void {
    this.#exits = new Map([...this.#exits].filter(([ifindex]) => !gone.has(ifindex)));
  }

  /**
   * Puts right what somebody damaged in the maps or took off its hook: the part of reconciling that
   * costs a few system calls for each attachment and direction, and so can be done often. In turns
   * of `inTurn`, a part of the attachments in each.
   */
  async maps(inTurn: Exclusively): Promise<void> {
    let state: MapsState = [];
    await inTurn(async () => {
      state = this.#stateOfMaps();
    });
    if (!isSameState(state, this.#right)) {
      this.#right = [];
      if (await this.#compareMaps(inTurn)) this.#right = state;
    }
    for (let turn = 0; turn < PROGRAM_TURNS && (turn === 0 || !this.#programs.isRound); turn += 1)
      await inTurn(() => this.#putProgramsBack());
  }

  #stateOfMaps(): MapsState {
    return stateOfMaps(this.#node, this.#exitsWithOverhead());
  }

  #exitsWithOverhead(): Exit[] {
    return [...this.#exits.values()].filter(({ overhead }) => overhead !== undefined);
  }

  /** Returns whether all was right; rejects with what could not be put right. */
  async #compareMaps(inTurn: Exclusively): Promise<boolean> {
    const { store } = this.#node;
    const failures: Problem[] = [];
    let steps = 0;
    const attachments = store.readAttachments();
    for (let at = 0; at === 0 || at < attachments.length; at += ATTACHMENTS_PER_TURN) {
      const some = attachments.slice(at, at + ATTACHMENTS_PER_TURN);
      await inTurn(async () => {
        const current = some.flatMap((record) => store.readAttachment(record) ?? []);
        const outcome = await this.#mapsOf(current, at === 0);
        failures.push(...outcome.failures);
        steps += outcome.done.length;
      });
    }
    if (failures.length > 0) throw new Error(failures.map(({ text }) => text).join('; '));
    return steps === 0;
  }

  /**
   * The maps' entries of some attachments, and of what is nobody's own with the first of them.
   */
  async #mapsOf(attachments: readonly AttachmentRecord[], isFirst: boolean): Promise<Outcome> {
    const { datapath } = this.#node;
    const exits = isFirst ? this.#exitsWithOverhead() : [];
    const desired = desiredMaps(this.#node, attachments, exits);
    const indexes = [
      ...attachments.flatMap(hostInterfaceIndexesOf),
      ...exits.map((exit) => exit.ifindex),
    ];
    const digests = isFirst ? datapath.exemptionDigests() : datapath.knownExemptionDigests();
    const observed = observeMaps(datapath, desired, indexes, digests);
    return this.#carryOut({ desired, observed, plan: plan(desired, observed) });
  }

  async #putProgramsBack(): Promise<void> {
    const lost = await this.#programs.look(this.#wantedPrograms());
    if (lost.length === 0) return;
    const devices = lost.map((place) => placeNamed(place).ifindex);
    const scope = { devices, hasOtherPods: false, hasUplinks: false };
    const view = await takeView(this.#node, [], scope);
    for (const { text } of await this.#carryOutExits(view)) this.#node.log('error', text);
    await this.#programs.except(lost);
  }

  /** Every program that must stand somewhere: worked out anew when something has changed. */
  #wantedPrograms(): ReadonlyMap<string, ProgramName> {
    const { store, orphans } = this.#node;
    const { policesNode } = desiredPolicing(this.#node);
    const of = [store.readAttachments(), this.#exits, this.#arrivals, orphans, policesNode];
    if (
      this.#wanted === undefined ||
      !of.every((each, index) => each === this.#wanted?.of[index])
    ) {
      const programs = desiredPrograms({
        ...{ attachments: store.readAttachments(), exits: [...this.#exits.values()] },
        ...{ arrivals: this.#arrivals, orphans },
        ...(policesNode !== undefined && { policesNode }),
      });
      this.#wanted = { of, programs };
    }
    return this.#wanted.programs;
  }

  /** Carries out a plan of the node's exits as well, and tells of these; returns what failed. */
  async #carryOutExits(view: View): Promise<Problem[]> {
    const exits = knownExits(view.exits);
    const { done, failures } = await this.#carryOut(view);
    this.#tell('info', [...exitChangesOf(this.#exits, exits), ...changesOf(done, view)]);
    this.#exits = exits;
    return failures;
  }

  /** Carries out as much of a plan as can be, and tells of what was damaged. */
  async #carryOut(looked: Looked): Promise<Outcome> {
    const failures: Problem[] = [];
    const owners = ownersOf(looked.desired.attachments);
    const done = await this.#enforcement.carryOut(looked, ({ message }, step) => {
      const ifindex = 'ifindex' in step ? step.ifindex : undefined;
      failures.push(problemAt(ifindex, message, owners));
    });
    const damaged = done.filter((step) => isSameAsBefore(step, this.#exits));
    this.#tell(
      'warn',
      damaged.flatMap((step) => repairOf(step, looked) ?? []),
    );
    return { done, failures };
  }

  #tell(level: 'info' | 'warn', texts: readonly string[]): void {
    if (this.#hasSeenAll) for (const text of texts) this.#node.log(level, text);
  }
}
