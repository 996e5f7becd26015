import test from 'ava';
import { followed, reorderedIn } from '../../bench/live.ts';
import { accountedBytes } from '../../bench/memory.ts';

const NETSTAT = `TcpExt: SyncookiesSent TCPSACKReorder TCPRenoReorder TCPTSReorder TCPFullUndo
TcpExt: 7 2 5 3 9
IpExt: InNoRoutes
IpExt: 4
`;

test('reordering is what both counters say together', (t) => {
  t.is(reorderedIn(NETSTAT), 5);
  t.throws(() => reorderedIn('TcpExt: TCPSACKReorder\nTcpExt: 2\n'), { message: /TCPTSReorder/ });
});

test('each phase is judged by its own cap, from when it has settled', (t) => {
  const interval = (mbit: number): number => mbit * 1250;
  const bytes = [
    ...Array.from({ length: 200 }, () => interval(100)),
    ...Array.from({ length: 4 }, () => interval(60)),
    ...Array.from({ length: 196 }, () => interval(10)),
  ];
  const phases = [
    { capMbit: 100, issuedMs: 0, inForceMs: 0, endMs: 1900 },
    { capMbit: 10, issuedMs: 1900, inForceMs: 2000, endMs: 4000 },
  ];
  t.deepEqual(followed({ bytes, intervalMs: 10 }, phases), { settleMs: 40, maxWindowShare: 1 });
});

test("the kernel's account of a map is read from its descriptor", (t) => {
  t.is(accountedBytes('pos:\t0\nmap_type:\t1\nmemlock:\t4096\nmap_id:\t7\n'), 4096);
  t.throws(() => accountedBytes('pos:\t0\n'), { message: /no memlock/ });
});
