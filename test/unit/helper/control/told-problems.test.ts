import test from 'ava';
import { ToldProblems } from '../../../../helper/control/told-problems.ts';
import { nodeProblem } from '../../../../helper/shaping/judgement.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';

function recordOf(containerId: string): AttachmentRecord {
  return {
    ...{ containerId, ifname: 'eth0', network: 'pods', sandbox: '/run/netns/x', caps: {} },
    ...{ hostInterface: 'veth1', hostInterfaceIndex: 7 },
  };
}

test('what went wrong with a pod is solved when it is there and right, not when it went', (t) => {
  const lines: string[] = [];
  const told = new ToldProblems(
    (level, message) => lines.push(`${level} ${message}`),
    (name) => `${name} is held again`,
  );
  const [mended, gone] = [recordOf('mended'), recordOf('gone')];
  const found = [mended, gone].map((record) => ({
    ...{ record, problem: nodeProblem(`${record.containerId} leaks`) },
  }));
  told.tell(found, [mended, gone]);
  told.tell(found, [mended, gone]);
  t.is(told.problems().length, 2);
  told.tell([], [mended]);
  t.deepEqual(told.problems(), []);
  t.deepEqual(lines, [
    ...['error mended leaks', 'error gone leaks'],
    'info Solved: mended/eth0 is held again',
  ]);
});
