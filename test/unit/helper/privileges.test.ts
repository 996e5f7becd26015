import test from 'ava';
import { parseCapabilities } from '../../../helper/kernel/capabilities.ts';
import { judgeCapabilities } from '../../../helper/privileges.ts';

function maskOf(...bits: number[]): string {
  const mask = bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
  return `Name:\tx\nCapPrm:\tffffffffffffffff\nCapEff:\t${mask.toString(16).padStart(16, '0')}\nCapBnd:\t0\n`;
}

test('the effective capabilities count, by the numbers of linux/capability.h', (t) => {
  const names = ['CAP_NET_ADMIN', 'CAP_SYS_PTRACE', 'CAP_SYS_ADMIN', 'CAP_PERFMON', 'CAP_BPF'];
  for (const [at, bit] of [12, 19, 21, 38, 39].entries()) {
    t.is([...parseCapabilities(maskOf(bit))].join(), names[at] ?? '');
  }
  t.deepEqual([...parseCapabilities(maskOf(0, 1, 11, 13, 20, 37, 40))], []);
  t.deepEqual([...parseCapabilities('no status')], []);
});

test('CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON, and nothing stands for it', (t) => {
  const lacking = (...bits: number[]): string[] =>
    judgeCapabilities(parseCapabilities(maskOf(...bits)))
      .filter(({ ok }) => !ok)
      .map(({ name }) => name);
  t.deepEqual(lacking(12, 21), []);
  t.deepEqual(lacking(12, 38, 39), ['CAP_SYS_ADMIN']);
  t.deepEqual(lacking(21), ['CAP_NET_ADMIN']);
  t.deepEqual(lacking(), ['CAP_NET_ADMIN', 'CAP_SYS_ADMIN', 'CAP_BPF', 'CAP_PERFMON']);
});

test('a capability that is only useful is no reason to refuse, and says what its lack costs', (t) => {
  const items = judgeCapabilities(parseCapabilities(maskOf(12, 21)));
  const of = (name: string) => items.find((item) => item.name === name);
  t.like(of('CAP_SYS_PTRACE'), { ok: true, there: false, found: 'not held' });
  t.regex(of('CAP_SYS_PTRACE')?.withoutIt ?? '', /named by process are refused/);
  t.like(of('CAP_BPF'), { ok: true, there: true, found: 'covered by CAP_SYS_ADMIN' });
});
