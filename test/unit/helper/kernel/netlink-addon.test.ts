import { createRequire } from 'node:module';
import test from 'ava';

test.serial('sockets of one process share one load of the netlink addon', (t) => {
  const require = createRequire(import.meta.url);
  const binding = require('../../../../helper/kernel/netlink-addon.cts') as () => {
    readonly NativeNetlink: unknown;
  };
  const dlopen = process.dlopen.bind(process);
  let loads = 0;
  t.teardown(() => {
    process.dlopen = dlopen;
  });
  process.dlopen = (...args) => {
    loads += 1;
    dlopen(...args);
  };
  const first = binding().NativeNetlink;
  t.is(typeof first, 'function');
  t.is(binding().NativeNetlink, first);
  t.is(loads, 1);
});
