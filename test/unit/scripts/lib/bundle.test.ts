import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import { ATTACHMENTS, RECORDS_MARK } from '../../../../helper/protocol/state-files.ts';
import { bundleEntry } from '../../../../scripts/lib/bundle.ts';
import { projectRoot } from '../../../../scripts/lib/paths.ts';
import { temporaryDirectory } from '../../../bed/temporary-directory.ts';
import { cniVariables } from '../../../kit/plugin.ts';

/** Runs packed-main.cjs with assets that are files, and says on stderr which pieces are loaded. */
const START = `
const fs = require('node:fs');
const Module = require('node:module');
const [directory, main] = process.argv.slice(1);
const load = Module._load;
const sea = {
  getRawAsset(name) {
    if (name.endsWith('.cjs')) fs.writeSync(2, 'loads ' + name + '\\n');
    return Uint8Array.from(fs.readFileSync(directory + '/' + name)).buffer;
  },
};
Module._load = (name, ...others) => (name === 'node:sea' ? sea : load(name, ...others));
require(main);`;

const [COMPILE_WHOLE, PACKED_MAIN] = ['compile-whole.cjs', 'packed-main.cjs'].map((file) =>
  path.join(projectRoot, 'scripts/lib', file),
) as [string, string];

test('what runtimes call most, and in vain, loads the first piece of the executable alone', async (t) => {
  const directory = temporaryDirectory(t);
  const at = (piece: number): string => path.join(directory, `podpace-${piece}`);
  const count = await bundleEntry('cni/main.ts', at);
  for (let piece = 0; piece < count; piece += 1) {
    const files = [at(piece), `${at(piece)}.cjs`, `${at(piece)}.code`];
    execFileSync(process.execPath, [COMPILE_WHOLE, ...files]);
  }
  // A helper was here, and has nothing of the attachment.
  fs.mkdirSync(path.join(directory, ATTACHMENTS));
  fs.writeFileSync(path.join(directory, RECORDS_MARK), '');
  const socket = path.join(directory, 'podpace.sock');
  const loaded = (
    command: string,
  ): { readonly status: number | null; readonly pieces: string[] } => {
    const { status, stderr } = spawnSync(process.execPath, ['-e', START, directory, PACKED_MAIN], {
      env: cniVariables(command, '/run/netns/never-there'),
      input: JSON.stringify({ cniVersion: '1.1.0', name: 'pods', type: 'podpace', socket }),
      encoding: 'utf8',
    });
    return {
      status,
      pieces: [...stderr.matchAll(/^loads (.*)\.cjs$/gm)].map(([, name = '']) => name),
    };
  };
  for (const command of ['VERSION', 'DEL'])
    t.deepEqual(loaded(command), { status: 0, pieces: ['podpace-0'] }, command);
  // It has neither ipam nor prevResult, which is an error of the other piece.
  t.deepEqual(loaded('ADD'), { status: 1, pieces: ['podpace-0', 'podpace-1'] });
});

test('the same sources give the same pieces', async (t) => {
  const directory = temporaryDirectory(t);
  const piecesOf = async (entry: string, turn: number): Promise<string[]> => {
    const at = (piece: number): string => path.join(directory, `${turn}-${piece}`);
    const count = await bundleEntry(entry, at);
    return Array.from({ length: count }, (_, piece) => fs.readFileSync(at(piece), 'latin1'));
  };
  for (const entry of ['cni/main.ts', 'helper/main.ts']) {
    const first = await piecesOf(entry, 0);
    for (let turn = 1; turn <= 2; turn += 1)
      t.true(isDeepStrictEqual(await piecesOf(entry, turn), first), `${entry}, turn ${turn}`);
  }
});
