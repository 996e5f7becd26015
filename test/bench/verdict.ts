// Verdicts: what was asked of podpace, and whether it was met.

/** One requirement and whether it was met. */
export interface Verdict<Scenario extends string = string> {
  readonly scenario: Scenario;
  readonly met: boolean;
  /** The requirement with the figure that was measured, for a person. */
  readonly text: string;
}

/** Those that were not met. */
export const missedOf = <V extends Verdict>(verdicts: readonly V[]): V[] =>
  verdicts.filter(({ met }) => !met);

/** Prints each in a line, and a conclusion; returns the exit status. */
export function printVerdicts(
  verdicts: readonly Verdict[],
  conclude: (missed: number) => string,
): number {
  for (const { met, text } of verdicts)
    process.stdout.write(`${met ? 'ok    ' : 'MISSED'}  ${text}\n`);
  const missed = missedOf(verdicts).length;
  process.stdout.write(`\n${conclude(missed)}\n`);
  return missed === 0 ? 0 : 1;
}
