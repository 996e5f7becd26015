// completion: what a shell reads to complete command lines of podpaced, and the command by which it
// asks.

import { setTimeout as sleep } from 'node:timers/promises';
import { Argument, type Command } from 'commander';
import { complete, type Candidate } from '../complete.ts';
import { podOf } from '../protocol/pod-names.ts';
import { DEFAULT_SOCKET } from '../protocol/state-files.ts';
import type { Candidate as Pod } from '../select.ts';
import { allPods, listAll, type CliEdges } from './asking.ts';

/** Longer, and whoever types would have typed it. */
const PODS_DEADLINE_MS = 1000;

/** A shell takes these for themselves; what others choose might be a command. */
const PLAIN = /^[\w.,:@%+=/-]+$/;

/** Lines of `complete` that are no words. */
const ASK_FOR = { files: ':files', directories: ':directories' } as const;

const BASH = `# bash completion of podpaced: source <(podpaced completion bash)
_podpaced() {
  local current=\${COMP_WORDS[COMP_CWORD]} word help
  [[ $current == = ]] && current=
  COMPREPLY=()
  while read -r word help; do
    case $word in
      ${ASK_FOR.files}) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
      ${ASK_FOR.directories}) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
      *) COMPREPLY+=("$word") ;;
    esac
  done < <("\${COMP_WORDS[0]}" complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _podpaced podpaced
`;

const ZSH = `#compdef podpaced
# zsh completion of podpaced: source <(podpaced completion zsh), or a file _podpaced in $fpath
_podpaced() {
  local line
  local -a candidates
  for line in "\${(@f)$("\${words[1]}" complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      '') ;;
      ${ASK_FOR.files}) _files ;;
      ${ASK_FOR.directories}) _files -/ ;;
      *) candidates+=("\${\${line%% *}//:/\\\\:}:\${line#* }") ;;
    esac
  done
  (( $#candidates )) && _describe podpaced candidates
}
if [[ $funcstack[1] == _podpaced ]]; then _podpaced "$@"; else compdef _podpaced podpaced; fi
`;

const FISH = `# fish completion of podpaced: podpaced completion fish | source
function __podpaced_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (command $words[1] complete -- $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case '${ASK_FOR.files}'
                __fish_complete_path "$current"
            case '${ASK_FOR.directories}'
                __fish_complete_directories "$current"
            case '*'
                string replace ' ' \\t -- $line
        end
    end
end
complete -c podpaced -f -a '(__podpaced_complete)'
`;

const SCRIPTS = { bash: BASH, zsh: ZSH, fish: FISH } as const;

/** The shortest plain name of each; with the interface where a pod has more than one. */
function namesOf(pods: readonly Pod[]): Candidate[] {
  const byName = Map.groupBy(pods, (pod) => podOf(pod) ?? pod.containerId);
  return [...byName].flatMap(([name, own]) => {
    const ifnames = new Set(own.map(({ ifname }) => ifname));
    const withInterface = ifnames.size > 1 ? [...ifnames].map((each) => `${name}/${each}`) : [];
    return [name, ...withInterface].map((word) => ({ word, help: 'pod' }));
  });
}

/** A helper that does not answer in time completes nothing. */
async function podNames(socket: string, isOfAll: boolean): Promise<Candidate[]> {
  const asked = isOfAll
    ? allPods(socket).then(({ capped, uncapped }) => [...capped, ...uncapped])
    : listAll(socket).then(({ attachments }) => attachments);
  const pods = await Promise.race([asked, sleep(PODS_DEADLINE_MS, [])]).catch(() => []);
  return namesOf(pods);
}

async function completed(program: Command, words: readonly string[]): Promise<string[]> {
  const { candidates, source, socket = DEFAULT_SOCKET } = complete(program, words);
  if (source === 'files' || source === 'directories') return [ASK_FOR[source]];
  const pods = source === undefined ? [] : await podNames(socket, source === 'all pods');
  const current = words.at(-1) ?? '';
  const fitting = pods.filter(({ word }) => PLAIN.test(word) && word.startsWith(current));
  return [...candidates, ...fitting].map(({ word, help }) => `${word} ${help}`);
}

/** Of the program whose command lines are completed. */
export function addCompletion(program: Command, edges: CliEdges): void {
  program
    .command('completion')
    .description('print what a shell reads to complete command lines of podpaced')
    .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(SCRIPTS)))
    .action((shell: keyof typeof SCRIPTS) => void edges.stdout(SCRIPTS[shell]));
  program
    .command('complete', { hidden: true })
    .description('print what may stand at the end of a command line, as the scripts read it')
    .argument('[words...]', 'those behind the name of the program')
    .action(async (words: readonly string[]) => {
      const lines = await completed(program, words);
      edges.stdout(lines.map((line) => `${line}\n`).join(''));
    });
}
