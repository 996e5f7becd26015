// Problems of attachments that looks find: remembered, and logged when they come and when they go.

import { keyOf } from '../protocol/messages.ts';
import { nameOf } from '../protocol/pod-names.ts';
import type { Problem } from '../shaping/judgement.ts';
import type { AttachmentRecord } from '../shaping/records.ts';

/** What a look has found wrong with an attachment. */
export interface Finding {
  readonly record: AttachmentRecord;
  readonly problem: Problem;
}

export class ToldProblems {
  readonly #log: (level: 'error' | 'info', message: string) => void;
  readonly #solvedText: (name: string) => string;
  /** By the key of the attachment. */
  #findings: ReadonlyMap<string, Finding> = new Map();

  /** `solvedText`: what the log says, behind "Solved: ", of an attachment with nothing wrong again. */
  constructor(
    log: (level: 'error' | 'info', message: string) => void,
    solvedText: (name: string) => string,
  ) {
    this.#log = log;
    this.#solvedText = solvedText;
  }

  /** What the last look has found. */
  problems(): Problem[] {
    return [...this.#findings.values()].map(({ problem }) => problem);
  }

  /** Takes what a look has found, one of an attachment: logs what comes and what goes, once each. */
  tell(found: readonly Finding[]): void {
    const findings = new Map(found.map((finding) => [keyOf(finding.record), finding]));
    for (const [key, { problem }] of findings)
      if (!this.#findings.has(key)) this.#log('error', problem.text);
    for (const [key, { record }] of this.#findings)
      if (!findings.has(key)) this.#log('info', `Solved: ${this.#solvedText(nameOf(record))}`);
    this.#findings = findings;
  }
}
