// The first script of an executable (pack.ts): runs the bundle with the code that V8 has made of it
// when it was packed. Code that this V8 does not take it makes anew.

const sea = require('node:sea');
const { Script } = require('node:vm');

const [source, cachedData] = ['main.cjs', 'main.code'].map((name) =>
  Buffer.from(sea.getRawAsset(name)),
);
const script = new Script(source.latin1Slice(), { filename: 'main.cjs', cachedData });
script.runInThisContext()(exports, require, module, __filename, __dirname);
