// From the programs of a former layout to ours, each at its place, once the new maps are filled.
//
// Two programs meet at every packet: the classifier writes an aggregate's id, the program at the
// exit charges it. Ids mean the same in both layouts and stand in both sets of maps by then, so
// either classifier may meet either exit. Aggregates whose clocks both layouts share are charged
// once, whichever program it is.

import { nameOfProgram } from '../kernel/bpf.ts';
import type { LoadedPodpace, LoadedProgram } from '../kernel/bpf-loader.ts';
import type { Hooks } from '../kernel/hooks.ts';
import type { Place } from '../wire/hook-place.ts';
import { CarryOver } from './carry-over.ts';
import type { Policing } from './policing.ts';

/** The kernel keeps so many characters of a program's name. */
const KERNEL_NAME_LENGTH = 15;

interface Replacement {
  readonly place: Place;
  readonly program: LoadedProgram;
}

/** Places where a program stands that is not ours but has the name of one of ours. */
async function replacementsOf({ programs }: LoadedPodpace, hooks: Hooks): Promise<Replacement[]> {
  const ours = Object.values(programs);
  const names = new Map<number, string | undefined>(ours.map(({ id, name }) => [id, name]));
  const replacements: Replacement[] = [];
  for (const place of hooks.knownPlaces()) {
    const id = await hooks.attachedProgramId(place);
    if (id === undefined || ours.some((program) => program.id === id)) continue;
    if (!names.has(id)) names.set(id, nameOfProgram(id));
    const program = ours.find(({ name }) => name.slice(0, KERNEL_NAME_LENGTH) === names.get(id));
    // Of no name that we know: reconciling puts there what should stand there.
    if (program !== undefined) replacements.push({ place, program });
  }
  return replacements;
}

/** Where packets are charged. */
function isCharging({ place }: Replacement): boolean {
  return place.hook === 'egress';
}

/**
 * Replaces every program of a former layout by ours, also those of attachments that no record tells
 * of, and lets go of the former maps. Those that charge packets come first. Returns how many were
 * replaced, and what failed: then the former maps stay, and the next start goes on.
 */
export async function changeOver(
  loaded: LoadedPodpace,
  hooks: Hooks,
  policing?: Pick<Policing, 'standing' | 'begin'>,
): Promise<{ replaced: number; failures: string[] }> {
  const { upgrade } = loaded;
  if (upgrade === undefined) return { replaced: 0, failures: [] };
  const replacements = await replacementsOf(loaded, hooks);
  const failures: string[] = [];
  const replace = async (some: readonly Replacement[]): Promise<void> => {
    for (const { place, program } of some) {
      try {
        await hooks.attach(place, program);
      } catch (error) {
        failures.push((error as Error).message);
      }
    }
  };
  const carryOver = new CarryOver(loaded, upgrade);
  carryOver.begin();
  upgrade.beginSwitching();
  await replace(replacements.filter(isCharging));
  if (policing?.standing() === 'stale') policing.begin();
  carryOver.end();
  await replace(replacements.filter((each) => !isCharging(each)));
  if (failures.length === 0) upgrade.finish();
  return { replaced: replacements.length - failures.length, failures };
}
