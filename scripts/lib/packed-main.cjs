// The first script of an executable (pack.ts): runs the first piece of the bundle, and loads others
// when something of them is asked for (bundle.ts), with the code that V8 has made of them when they
// were packed. Code that this V8 does not take it makes anew.

const sea = require('node:sea');
const { Script } = require('node:vm');

const pieces = [];

function load(number) {
  const [source, cachedData] = ['cjs', 'code'].map((kind) =>
    Buffer.from(sea.getRawAsset(`piece-${number}.${kind}`)),
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
