// What the log says of problems: each once when it comes, and when it was solved. A problem of pods
// that went with them was not: nothing is said of it.

import { keyOf, type AttachmentKey } from './protocol/messages.ts';
import type { Problem } from './shaping/judgement.ts';

/** The one attachment that a problem concerns. */
function subjectOf({ scopes }: Problem): AttachmentKey | undefined {
  const [first] = scopes;
  if (first?.of !== 'attachment') return undefined;
  const key = keyOf(first.key);
  const isIts = scopes.every((scope) => scope.of === 'attachment' && keyOf(scope.key) === key);
  return isIts ? first.key : undefined;
}

/** `isThere`: whether an attachment is known, with its cap or only with the wish of one. */
export function problemReporter(
  log: (level: 'info' | 'error', message: string, of?: AttachmentKey) => void,
  isThere: (key: AttachmentKey) => boolean,
): (problems: readonly Problem[]) => void {
  let reported = new Map<string, Problem>();
  const isGone = ({ scopes }: Problem): boolean =>
    scopes.every((scope) => scope.of === 'attachment' && !isThere(scope.key));
  return (problems) => {
    const current = new Map(problems.map((problem) => [problem.text, problem]));
    for (const [text, problem] of current)
      if (!reported.has(text)) log('error', text, subjectOf(problem));
    for (const [text, problem] of reported)
      if (!current.has(text) && !isGone(problem))
        log('info', `Solved: ${text}`, subjectOf(problem));
    reported = current;
  };
}
