import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { projectRoot } from '../../../../scripts/lib/paths.ts';

const COMPILE_WHOLE = path.join(projectRoot, 'scripts/lib/compile-whole.cjs');
/** As pack.ts has podpaced run. */
const FLAGS = ['--max-semi-space-size=1'];
const BUNDLE = `function never() { return [${'1,'.repeat(1000)}]; } console.log(typeof never);`;
/** Whether V8 takes the code, and how much of it there is. */
const TAKE = `
const fs = require('node:fs');
const [source, cachedData] = process.argv.slice(1).map((name) => fs.readFileSync(name));
const script = new (require('node:vm').Script)(source.latin1Slice(), { filename: 'main.cjs', cachedData });
console.log(script.cachedDataRejected);
script.runInThisContext()();`;

test('a bundle becomes the same code each time, which V8 takes, also what is called only later', (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'podpace-code-'));
  t.teardown(() => fs.rmSync(directory, { recursive: true }));
  const at = (name: string): string => path.join(directory, name);
  fs.writeFileSync(at('bundle'), BUNDLE);
  for (const name of ['a', 'b']) {
    const args = [COMPILE_WHOLE, at('bundle'), at(`${name}.script`), at(`${name}.code`)];
    execFileSync(process.execPath, [...FLAGS, '--random-seed=1', ...args]);
  }
  const code = fs.readFileSync(at('a.code'));
  t.deepEqual(code, fs.readFileSync(at('b.code')));
  t.true(code.length > 1000 * 4, 'the array of the function that is never called');
  const taken = [...FLAGS, '-e', TAKE, at('a.script'), at('a.code')];
  t.is(execFileSync(process.execPath, taken, { encoding: 'utf8' }), 'false\nfunction\n');
});
