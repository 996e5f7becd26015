// The operator's commands. Every one that asks the helper goes through its socket and takes --json.

import { Command, CommanderError } from 'commander';
import { type CliEdges, ask, print } from './commands/asking.ts';
import { addCompletion } from './commands/completion.ts';
import { addStatus, addList, addCounters } from './commands/queries.ts';
import { addExplain } from './commands/explain.ts';
import { addHistory } from './commands/history.ts';
import { addReport } from './commands/report.ts';
import { addSet } from './commands/set.ts';
import { type RunFlags, loadConfig, addSettings } from './commands/settings.ts';
import { addUninstall } from './commands/uninstall.ts';
import { ConfigError } from './config.ts';
import { runDaemon } from './daemon.ts';
import { addInstall } from './commands/install.ts';
import { tryPrograms } from './kernel/features.ts';
import { openLog } from './log.ts';
import { probe } from './probe.ts';
import { HelperError } from './protocol/client.ts';
import { printableLines } from './protocol/printable.ts';
import { renderProbe } from './render.ts';
import { UnitError } from './shaping/units.ts';
import { VERSION } from './version.ts';
import { AddonError } from './wire/errors.ts';

/**
 * Whatever is printed goes through here, JSON too: there an escape stands for the same character.
 */
function escaping({ stdout, stderr, ...others }: CliEdges): CliEdges {
  return {
    ...others,
    stdout: (text) => stdout(printableLines(text)),
    stderr: (text) => stderr(printableLines(text)),
  };
}

/**
 * A command line that cannot be understood; 1 is for what was understood and failed, or is
 * degraded.
 */
const USAGE = 2;

/** For the manifest of the uninstall: a DaemonSet's containers must not end. */
function addWait(program: Command): void {
  program
    .command('wait', { hidden: true })
    .description('do nothing until SIGTERM')
    .action(async () => {
      const timer = setInterval(() => undefined, 3_600_000);
      await new Promise((resolve) => {
        for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, resolve);
      });
      clearInterval(timer);
    });
}

/** All commands, also for whoever documents them. */
export function buildProgram(edges: CliEdges, setExitCode: (code: number) => void): Command {
  const program = new Command('podpaced');
  program
    .description('Holds the bandwidth caps of the pods on this node')
    .version(VERSION)
    .exitOverride()
    .configureOutput({ writeOut: edges.stdout, writeErr: edges.stderr });
  addSettings(
    program
      .command('run')
      .description('serve the CNI plugin until SIGTERM; caps stay in force after'),
  ).action(async (flags: RunFlags) => {
    const config = loadConfig(flags);
    const { log, end } = openLog(edges.stderr, config);
    await runDaemon(config, log).finally(end);
  });
  addStatus(program, edges, setExitCode);
  addList(program, edges);
  addCounters(program, edges);
  addExplain(program, edges, setExitCode);
  addHistory(program, edges);
  addSet(program, edges);
  addSettings(
    program.command('probe').description('can this node hold caps, and if not, what is in the way'),
  )
    .option('--json', 'print JSON')
    .action(async ({ json, ...flags }: RunFlags & { json?: true }) => {
      const config = loadConfig(flags);
      const result = await probe(config, tryPrograms);
      print(edges, json, result, () => renderProbe(result));
      if (result.items.some(({ ok }) => !ok)) setExitCode(1);
    });
  addReport(program, edges);
  addInstall(program, {
    askHelper: (socket) => ask(socket, 'status', {}),
    print: (isJson, result, text) => print(edges, isJson, result, text),
  });
  addUninstall(program, edges);
  addCompletion(program, edges);
  addWait(program);
  return program;
}

function remedyOf(error: unknown): string | undefined {
  if (error instanceof HelperError) return error.remedy;
  return error instanceof AddonError ? error.remedy : undefined;
}

/**
 * Runs one command line (without the program's name). Every failure is one line. Returns the exit
 * code: 0, or 1 when it failed or something is degraded, or 2 when it cannot be understood.
 */
export async function runCli(argv: readonly string[], edges: CliEdges): Promise<number> {
  let exitCode = 0;
  const output = escaping(edges);
  try {
    const program = buildProgram(output, (code) => (exitCode = code));
    await program.parseAsync([...argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
    const remedy = remedyOf(error);
    const text =
      remedy === undefined ? (error as Error).message : `${(error as Error).message}; ${remedy}`;
    output.stderr(`podpaced: ${text}`.replaceAll('\n', ' ').trimEnd() + '\n');
    return error instanceof ConfigError || error instanceof UnitError ? USAGE : 1;
  }
}
