// What the log says of problems: each once when it comes, and when it was solved. A problem of pods
// that went with them was not: nothing is said of it.

import type { AttachmentKey } from './protocol/messages.ts';
import type { Problem } from './shaping/judgement.ts';

/** `isThere`: whether an attachment is known, with its cap or only with the wish of one. */
export function problemReporter(
  log: (level: 'info' | 'error', message: string) => void,
  isThere: (key: AttachmentKey) => boolean,
): (problems: readonly Problem[]) => void {
  let reported = new Map<string, Problem>();
  const isGone = ({ scopes }: Problem): boolean =>
    scopes.every((scope) => scope.of === 'attachment' && !isThere(scope.key));
  return (problems) => {
    const current = new Map(problems.map((problem) => [problem.text, problem]));
    for (const text of current.keys()) if (!reported.has(text)) log('error', text);
    for (const [text, problem] of reported)
      if (!current.has(text) && !isGone(problem)) log('info', `Solved: ${text}`);
    reported = current;
  };
}
