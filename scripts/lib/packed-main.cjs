// The first script of the executable (pack.ts), which is plugin and helper in one: of the program
// that it is called as it runs the first piece, and loads others when something of them is asked for
// (bundle.ts), with the code that V8 has made of them when they were packed. Code that this V8 does
// not take it makes anew.

const sea = require('node:sea');
const { Script } = require('node:vm');

// Runtimes call the plugin by a path of theirs, whatever file a list has them look for.
const program = /(^|\/)podpaced[^/]*$/.test(process.argv0) ? 'podpaced' : 'podpace';
const pieces = [];

function load(number) {
  const [source, cachedData] = ['cjs', 'code'].map((kind) =>
    Buffer.from(sea.getRawAsset(`${program}-${number}.${kind}`)),
  );
  const script = new Script(source.latin1Slice(), { filename: 'bundle.cjs', cachedData });
  const module = { exports: {} };
  pieces[number] = module;
  script.runInThisContext()(module.exports, requireAny, module, __filename, __dirname);
}

function requireAny(name) {
  const [, number, file] = /^piece:(\d+):(.*)$/.exec(name) ?? [];
  if (number === undefined) return require(name);
  if (pieces[number] === undefined) load(number);
  const given = pieces[number].exports[file];
  return typeof given === 'function' ? given() : given;
}

load(0);
