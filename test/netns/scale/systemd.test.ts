// The unit of conf/ under a real systemd: with its filters, and what systemd hears of podpaced.

import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { inNetns } from '../../../helper/kernel/netns.ts';
import { writeSysctl } from '../../../helper/kernel/sysctl.ts';
import { askSocket } from '../../kit/ask.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  placeFlags,
  wirePod,
} from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';
import { startSystemd, systemdRefusal, type OwnSystemd } from '../../kit/systemd.ts';
import { until } from '../../kit/wish-scene.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 20_000_000 } };

async function isActive({ property }: OwnSystemd): Promise<boolean> {
  return (await property('ActiveState')) === 'active';
}

/** A service with one pod that has a record. */
function startService(t: ExecutionContext, settings: readonly string[] = []) {
  const directories = makeHelperDirectories(t);
  const [node, sandbox, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  addUplink(node, peer, 'uplink', 2);
  inNetns(sandbox.netns, () => writeSysctl('net/ipv6/conf/default/disable_ipv6', '1'));
  wirePod(node, sandbox, 'pod0');
  const params = paramsOf('pod0', sandbox, CAPS);
  leaveRecord(node, directories, params);
  const systemd = startSystemd(t, node, placeFlags(directories), settings);
  return { systemd, params, socket: path.join(directories.run, 'helper.sock') };
}

test.serial('the unit is ready when caps can be added, and has all that it needs', async (t) => {
  const refusal = systemdRefusal();
  if (refusal !== undefined) return t.log(refusal);
  const { systemd, params, socket } = startService(t);
  await until(t, 'it is active', () => isActive(systemd));
  // At once: that is what Type=notify is for.
  const { attachments } = await askSocket(socket, 'counters', {});
  t.is(attachments[0]?.egress?.total.packets, 0);
  t.is(await systemd.property('WatchdogUSec'), '2min');
  const { containerId, ifname } = params;
  const changes = { rateBitsPerSec: 12_000_000 };
  const set = await askSocket(socket, 'set', {
    ...{ containerId, ifname, direction: 'egress', changes },
  });
  t.is(set.after?.rateBitsPerSec, 12_000_000);
  t.regex(await systemd.property('StatusText'), /^(All caps are enforced|\d+ problems?, see )/);
  const pid = await systemd.property('MainPID');
  // Linux: seccomp(2), mode 2 is a filter.
  t.regex(await systemd.run(`cat /proc/${pid}/status`), /^Seccomp:\t2$/m);
  await until(
    t,
    'a look has ended',
    async () => (await systemd.property('WatchdogTimestamp')) !== '',
  );
  await systemd.run('systemctl stop podpaced');
  t.is(await systemd.property('Result'), 'success');
  t.regex(systemd.log(), /stopped; caps stay in force/);
  t.notRegex(systemd.log(), /EPERM|EACCES|ENOSYS|EAFNOSUPPORT|service manager/);
});

test.serial('one that hangs is ended and started again', async (t) => {
  const refusal = systemdRefusal();
  if (refusal !== undefined) return t.log(refusal);
  const { systemd } = startService(t, ['WatchdogSec=8', 'RestartSec=0']);
  await until(t, 'it is active', () => isActive(systemd));
  const former = await systemd.property('MainPID');
  await systemd.run(`kill -STOP ${former}`);
  await until(t, 'it was started again', async () => (await systemd.property('NRestarts')) === '1');
  await until(t, 'it is active again', () => isActive(systemd));
  t.not(await systemd.property('MainPID'), former);
});
