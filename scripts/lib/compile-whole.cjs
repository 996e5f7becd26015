// node compile-whole.cjs BUNDLE SCRIPT CODE: wraps a piece of a bundle as packed-main.cjs runs it,
// and has V8 compile all of it. By itself V8 compiles a function when it is called first, and a
// code cache holds what has been called: what a helper is at its start would be compiled at every
// start.

const fs = require('node:fs');
const v8 = require('node:v8');
const { Script } = require('node:vm');

const [bundle, script, code] = process.argv.slice(2);
const source = `(function (exports, require, module, __filename, __dirname) {${fs.readFileSync(bundle, 'latin1')}\n})`;
v8.setFlagsFromString('--no-lazy');
const compiled = new Script(source, { filename: 'bundle.cjs' });
// The cache says by which flags it was made, and V8 takes it with these only.
v8.setFlagsFromString('--lazy');
fs.writeFileSync(script, source, 'latin1');
fs.writeFileSync(code, compiled.createCachedData());
