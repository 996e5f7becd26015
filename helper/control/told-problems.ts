// Problems of attachments that looks find: remembered, and logged when they come and when they go.
// A pod that went has solved nothing: nothing is said of it.

import { keyOf, type AttachmentKey, type PodNames } from '../protocol/messages.ts';
import { nameOf } from '../protocol/pod-names.ts';
import type { Problem } from '../shaping/judgement.ts';
import type { AttachmentRecord } from '../shaping/records.ts';

/** What a look has found wrong with an attachment. */
export interface Finding {
  readonly record: AttachmentRecord;
  readonly problem: Problem;
}

type Told = (level: 'error' | 'info', message: string, of: AttachmentKey & PodNames) => void;

export class ToldProblems {
  readonly #log: Told;
  readonly #solvedText: (name: string) => string;
  /** By the key of the attachment. */
  #findings: ReadonlyMap<string, Finding> = new Map();

  /**
   * `solvedText`: what the log says, behind "Solved: ", of an attachment with nothing wrong again.
   */
  constructor(log: Told, solvedText: (name: string) => string) {
    this.#log = log;
    this.#solvedText = solvedText;
  }

  /** What the last look has found. */
  problems(): Problem[] {
    return [...this.#findings.values()].map(({ problem }) => problem);
  }

  /**
   * Takes what a look has found, one of an attachment: logs what comes and what goes, once each.
   * `attachments`: all that there are.
   */
  tell(found: readonly Finding[], attachments: readonly AttachmentKey[]): void {
    const findings = new Map(found.map((finding) => [keyOf(finding.record), finding]));
    const solved = [...this.#findings].filter(
      ([key]) => !findings.has(key) && attachments.some((one) => keyOf(one) === key),
    );
    for (const [key, { record, problem }] of findings)
      if (!this.#findings.has(key)) this.#log('error', problem.text, record);
    for (const [, { record }] of solved)
      this.#log('info', `Solved: ${this.#solvedText(nameOf(record))}`, record);
    this.#findings = findings;
  }
}
