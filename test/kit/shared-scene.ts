// One node for several tests, each of which puts back what it has changed: on an emulated processor
// a helper that starts is most of what such a test costs.

import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { inNetns } from '../../helper/kernel/netns.ts';
import { readSysctl } from '../../helper/kernel/sysctl.ts';
import { inNamespace } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { set, type Scene } from './crossing-scene.ts';
import type { TestNetns } from './netns.ts';

/** Longer than the books look back. */
const CALM_MS = 60_000;
const WIRE_MTU = 1500;

/** A scene that is made for the first test that uses it, and again after one that failed. */
export class SharedScene {
  readonly #make: (t: Pick<ExecutionContext, 'teardown'>) => Promise<Scene>;
  readonly #undo = new UndoStack();
  #scene: Promise<Scene> | undefined;

  constructor(make: (t: Pick<ExecutionContext, 'teardown'>) => Promise<Scene>) {
    this.#make = make;
  }

  /** The scene, once nothing of the tests before is complained of any more. */
  async use(): Promise<Scene> {
    this.#scene ??= this.#make(this.#undo);
    const scene = await this.#scene;
    await untilCalm(scene);
    return scene;
  }

  /** Takes it away. */
  async end(): Promise<void> {
    this.#scene = undefined;
    await this.#undo.run();
  }
}

async function untilCalm({ helper }: Scene): Promise<void> {
  const deadlineMs = performance.now() + CALM_MS;
  for (;;) {
    const { state, problems } = await helper.ask('status', {});
    if (state === 'ok') return;
    if (performance.now() > deadlineMs)
      throw new Error(`The helper still complains of what has gone: ${problems.join('; ')}`);
    await sleep(500);
  }
}

/**
 * The command of `ip` that takes back another one; none for what goes with its device. Throws for
 * one of which it is not known.
 */
export function undoOf(command: string): string | undefined {
  const [family, words] = command.startsWith('-')
    ? [command.slice(0, 3), command.slice(3)]
    : ['', command];
  const [object = '', verb = '', ...rest] = words.split(' ');
  if (object === 'link' && verb === 'set') {
    const [device = '', , mtu] = rest;
    return rest[1] === 'mtu' && mtu !== undefined
      ? `link set ${device} mtu ${WIRE_MTU}`
      : undefined;
  }
  if (verb !== 'add') throw new Error(`Nobody knows what takes back "ip ${command}"`);
  if (object === 'link') {
    const named = rest[0] === 'link' ? rest[rest.indexOf('name') + 1] : rest[0];
    return `link del ${named}`;
  }
  if (object === 'neigh')
    return `${family}neigh del ${rest[0]} dev ${rest[rest.indexOf('dev') + 1]}`;
  if (object === 'nexthop') return `nexthop del id ${rest[rest.indexOf('id') + 1]}`;
  const own = rest.filter((word) => word !== 'nodad');
  return [`${family}${object}`, 'del', ...own].join(' ');
}

/**
 * Takes back commands of `ip` in a namespace, the last one first. What has gone with another thing
 * is no error.
 */
export function takeBack({ name }: TestNetns, commands: readonly string[]): void {
  const all = commands.toReversed().map(undoOf);
  for (const family of ['-4', '-6']) {
    const lines = all
      .filter((command) => command !== undefined)
      .filter((command) => command.startsWith('-6') === (family === '-6'))
      .map((command) => command.replace(/^-6 /, ''));
    if (lines.length === 0) continue;
    try {
      execFileSync('ip', ['-n', name, family, '-force', '-batch', '-'], {
        input: lines.join('\n'),
        stdio: ['pipe', 'ignore', 'ignore'],
      });
    } catch {
      // It fails where one command did.
    }
  }
}

/** Takes all rules of nft in a namespace away. */
export function takeRulesAway({ netns }: TestNetns): void {
  execFileSync(...inNamespace(netns.path, 'nft', 'flush', 'ruleset'));
}

/** Sets what it is given for as long as the test runs. */
export function setMeanwhile(
  t: Pick<ExecutionContext, 'teardown'>,
  node: TestNetns,
  settings: Readonly<Record<string, string>>,
): void {
  const former = inNetns(node.netns, () =>
    Object.fromEntries(Object.keys(settings).map((name) => [name, readSysctl(name)])),
  );
  t.teardown(() => set(node, former));
  set(node, settings);
}
