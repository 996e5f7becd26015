import test from 'ava';
import { pauseMs, receiverOf, type Environment } from '../../../../helper/otlp/receiver.ts';

function place(endpoint: string, env: Environment): string | undefined {
  return receiverOf(endpoint, env)?.url.href;
}

test('nothing is set: nothing is pushed', (t) => {
  t.is(receiverOf('', {}), undefined);
  // As the specification has it, an empty variable is one that is not set.
  t.is(receiverOf('', { OTEL_EXPORTER_OTLP_ENDPOINT: '' }), undefined);
});

test('the setting wins, then the variable of metrics as it is, then the common one with the path', (t) => {
  const base = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318' };
  const own = { ...base, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'http://b:4318/own' };
  t.is(place('https://a/x', own), 'https://a/x');
  t.is(place('', own), 'http://b:4318/own');
  t.is(place('', base), 'http://c:4318/v1/metrics');
  t.is(place('', { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c/under/' }), 'http://c/under/v1/metrics');
});

test('a variable that is no URL of http is named, and not shown', (t) => {
  for (const text of ['c:4318', 'ftp://c/', 'http://', 'grpc://secret@c'])
    for (const name of ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_METRICS_ENDPOINT'])
      t.throws(() => receiverOf('', { [name]: text }), {
        message: `${name} must be a URL of http or https`,
      });
});

test('headers come from the environment, those of metrics over the common ones', (t) => {
  const env = {
    OTEL_EXPORTER_OTLP_HEADERS: 'Authorization=Bearer%20a%3D%3D, x-tenant = one,',
    OTEL_EXPORTER_OTLP_METRICS_HEADERS: 'X-Tenant=two',
  };
  t.deepEqual(receiverOf('http://a/', env)?.headers, {
    ...{ authorization: 'Bearer a==', 'x-tenant': 'two' },
  });
});

test('a header that could not be sent is refused without being shown', (t) => {
  for (const text of ['secret', '=secret', 'a b=secret', 'a=%zz', 'a=b%0d%0ac', 'a=%e2%82%ac']) {
    const error = t.throws(() => receiverOf('http://a/', { OTEL_EXPORTER_OTLP_HEADERS: text }));
    t.is(error?.message, 'OTEL_EXPORTER_OTLP_HEADERS must be name=value pairs, percent-encoded');
  }
});

test('pauses double, vary by chance, and end at 30 s', (t) => {
  t.deepEqual(
    [1, 2, 3, 6, 60].map((tries) => pauseMs(tries, 1)),
    [1_000, 2_000, 4_000, 30_000, 30_000],
  );
  t.is(pauseMs(1, 0), 500);
});
