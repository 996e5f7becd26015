// The first script of an executable (pack.ts): runs the first piece of the bundle, and the rest when
// something of that is asked for (bundle.ts), with the code that V8 has made of them when they were
// packed. Code that this V8 does not take it makes anew.

const sea = require('node:sea');
const { Script } = require('node:vm');

function run(piece, module, require) {
  const [source, cachedData] = ['cjs', 'code'].map((kind) =>
    Buffer.from(sea.getRawAsset(`${piece}.${kind}`)),
  );
  const script = new Script(source.latin1Slice(), { filename: 'bundle.cjs', cachedData });
  script.runInThisContext()(module.exports, require, module, __filename, __dirname);
  return module.exports;
}

const first = { exports: {} };
let rest;

run('first', first, (name) => {
  if (!name.startsWith('rest:')) return require(name);
  rest ??= run('rest', { exports: {} }, (wanted) =>
    wanted.startsWith('first:') ? first.exports[wanted.slice('first:'.length)] : require(wanted),
  );
  return rest[name.slice('rest:'.length)]();
});
