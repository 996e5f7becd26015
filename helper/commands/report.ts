// report: one file with all that a bug report needs.

import fs from 'node:fs';
import type { Command } from 'commander';
import { tryPrograms } from '../kernel/features.ts';
import { probe } from '../probe.ts';
import { redacted } from '../redact.ts';
import { reportOf } from '../report.ts';
import { type CliEdges, ask, countersOfAll, listAll, uncappedIfKnown } from './asking.ts';
import { addSettings, loadConfig, type RunFlags } from './settings.ts';

type ReportFlags = RunFlags & { readonly output?: string; readonly redact?: true };

/** `podpaced-report-20261201T142530Z.json` */
function usualName(): string {
  const time = new Date().toISOString().replace(/\.\d+/, '').replaceAll(/[-:]/g, '');
  return `podpaced-report-${time}.json`;
}

/** Writes a new file, for its owner only. Throws an Error with the remedy where there is one. */
function writeNew(file: string, text: string): void {
  try {
    fs.writeFileSync(file, text, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(
      code === 'EEXIST'
        ? `Cannot write ${file}: it is there already; name another by --output`
        : `Cannot write ${file}: ${code}; name another place by --output, or - for standard output`,
      { cause: error },
    );
  }
}

/** What to say of a report that was written. */
function described(file: string, text: string, isRedacted: boolean): string {
  const names = isRedacted
    ? 'names and addresses are replaced; read it all the same before you send it'
    : 'it names pods, nodes and addresses; read it before you send it, or use --redact';
  return `Wrote ${file} (${Math.ceil(Buffer.byteLength(text) / 1024)} KiB): ${names}\n`;
}

export function addReport(program: Command, edges: CliEdges): void {
  addSettings(
    program
      .command('report')
      .description('write one file with all that a bug report needs; changes nothing'),
  )
    .option(
      '--output <file>',
      'where to write it, - for standard output (default: a new file here)',
    )
    .option('--redact', 'replace names of pods, namespaces, containers and nodes, and addresses')
    .action(async ({ output, redact, ...flags }: ReportFlags) => {
      const config = loadConfig(flags);
      const { socket } = config;
      const questions = {
        status: () => ask(socket, 'status', {}),
        list: () => listAll(socket),
        uncapped: () => uncappedIfKnown(socket),
        counters: () => countersOfAll(socket, true),
        probe: () => probe(config, tryPrograms),
      };
      const isRedacted = redact === true;
      const whole = await reportOf(config, questions, (what) =>
        edges.stderr(`podpaced: ${what} ...\n`),
      );
      const text = `${JSON.stringify(isRedacted ? redacted(whole) : whole, undefined, 2)}\n`;
      if (output === '-') return void edges.stdout(text);
      const file = output ?? usualName();
      writeNew(file, text);
      edges.stdout(described(file, text, isRedacted));
    });
}
