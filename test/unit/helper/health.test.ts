import net from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { openHealth, type Health } from '../../../helper/health.ts';
import { freePort } from '../../kit/free-port.ts';

interface Scene {
  readonly health: Health;
  readonly address: string;
  readonly clock: { ms: number };
  readonly ask: (path: string) => Promise<string>;
}

async function listening(t: ExecutionContext): Promise<Scene> {
  const clock = { ms: 5_000 };
  const address = `127.0.0.1:${await freePort()}`;
  const health = await openHealth(address, () => clock.ms);
  t.teardown(health.close);
  const ask = async (path: string): Promise<string> => {
    const answer = await fetch(`http://${address}${path}`);
    return `${answer.status} ${(await answer.text()).trim()}`.trim();
  };
  return { health, address, clock, ask };
}

test('it lives from the first moment on, and is ready from when it serves', async (t) => {
  const { health, ask } = await listening(t);
  t.is(await ask('/livez'), '200 ok');
  t.is(await ask('/readyz'), '503 podpaced does not serve yet');
  health.serves();
  t.is(await ask('/readyz'), '200 ok');
});

test('it does not live when looks at the maps no longer end', async (t) => {
  const { health, clock, ask } = await listening(t);
  clock.ms += 120_000;
  t.is(await ask('/livez'), '200 ok');
  clock.ms += 1_000;
  t.is(await ask('/livez'), '503 the last look at the maps ended 121 s ago');
  health.hasLooked();
  t.is(await ask('/livez'), '200 ok');
});

test('there is nothing else to ask for', async (t) => {
  const { ask } = await listening(t);
  for (const path of ['/', '/livez/', '/constructor', '/readyz?verbose'])
    t.is(await ask(path), '404', path);
});

test('who says nothing does not keep others from asking', async (t) => {
  const { ask, address } = await listening(t);
  const port = Number(address.split(':')[1]);
  const silent = net.connect(port, '127.0.0.1');
  t.teardown(() => silent.destroy());
  await new Promise((resolve) => silent.once('connect', resolve));
  t.is(await ask('/livez'), '200 ok');
});

test('an address that is taken is refused, with the flag for another', async (t) => {
  const { address } = await listening(t);
  await t.throwsAsync(openHealth(address), {
    message: /^Cannot listen on 127\.0\.0\.1 port \d+: .*EADDRINUSE.*--health-address$/,
  });
});

test('without an address nothing listens', async (t) => {
  const before = process.getActiveResourcesInfo().filter((one) => one === 'TCPServerWrap').length;
  const health = await openHealth('');
  health.hasLooked();
  health.serves();
  health.close();
  const after = process.getActiveResourcesInfo().filter((one) => one === 'TCPServerWrap').length;
  t.is(after, before);
});
