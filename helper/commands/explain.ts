// explain: the whole way of one pod's packets, and what is wrong on it.

import type { Command } from 'commander';
import { HelperError } from '../protocol/client.ts';
import type { AttachmentKey, ExplainEntry, ExplainResult } from '../protocol/messages.ts';
import { PROBLEM_CODES } from '../protocol/problem-codes.ts';
import { remedies } from '../protocol/remedies.ts';
import { DEFAULT_SOCKET } from '../protocol/state-files.ts';
import { renderExplain } from '../render-explain.ts';
import {
  ask,
  POD,
  POD_IS,
  selectCapped,
  show,
  type CliEdges,
  type QueryOptions,
} from './asking.ts';
import { addWatch } from './watch.ts';

/** What there is to say beside a helper that does not know the request. */
function olderHelper(): ExplainEntry {
  const { stage, severity } = PROBLEM_CODES['helper-old'];
  return {
    ...{ stage, severity, code: 'helper-old' },
    message: 'The podpaced that runs is of an older release, which cannot explain',
    remedy: remedies.newerHelper(process.execPath),
  };
}

type Explained = Pick<ExplainResult, 'entries'> & Partial<ExplainResult>;

async function explained(socket: string, key: AttachmentKey): Promise<Explained> {
  try {
    return await ask(socket, 'explain', key);
  } catch (error) {
    if (!(error instanceof HelperError && error.failure === 'bad-request')) throw error;
    return { entries: [olderHelper()] };
  }
}

function isWhole(result: Explained): result is ExplainResult {
  return result.attachment !== undefined;
}

export function addExplain(
  program: Command,
  edges: CliEdges,
  setExitCode: (code: number) => void,
): void {
  const command = program
    .command('explain')
    .description("the way of a pod's packets, and what is wrong on it; exit status 1 on an error")
    .argument(`<${POD}>`, `one capped pod; ${POD_IS}`)
    .option('--socket <path>', 'unix socket of the helper', DEFAULT_SOCKET)
    .option('--json', 'print JSON');
  addWatch(command).action((selector: string, options: QueryOptions) =>
    show(edges, options, async () => {
      const key = await selectCapped(options.socket, selector, edges);
      const result = await explained(options.socket, key);
      setExitCode(Number(result.entries.some(({ severity }) => severity === 'error')));
      return {
        result,
        text: () =>
          isWhole(result)
            ? renderExplain(result)
            : result.entries.map(({ message, remedy }) => `${message}; ${remedy}`).join('\n'),
      };
    }),
  );
}
