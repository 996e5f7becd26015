// Where metrics are pushed to, by a setting or by OpenTelemetry's variables, and when a push that
// was not taken is tried again. Pure.
//
// Sources: "OpenTelemetry Protocol Exporter" and "OTLP Specification 1.x", section "OTLP/HTTP
// Response".

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Receiver {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** A file (PEM) with those who may have signed its certificate. */
  readonly authorities: string | undefined;
}

function urlOf(text: string, variable: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new Error(`${variable} must be a URL of http or https`);
}

function endpointIn(env: Environment): URL | undefined {
  const { OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: own, OTEL_EXPORTER_OTLP_ENDPOINT: base } = env;
  if (own) return urlOf(own, 'OTEL_EXPORTER_OTLP_METRICS_ENDPOINT');
  if (!base) return undefined;
  const url = urlOf(base, 'OTEL_EXPORTER_OTLP_ENDPOINT');
  url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/metrics`;
  return url;
}

/** `name=value,name=value`, each percent-encoded. It is not shown: there may be a token in it. */
function headersIn(env: Environment): Record<string, string> {
  const pairs = [env['OTEL_EXPORTER_OTLP_HEADERS'], env['OTEL_EXPORTER_OTLP_METRICS_HEADERS']]
    .flatMap((text) => (text ?? '').split(','))
    .filter((pair) => pair.trim() !== '');
  return Object.fromEntries(
    pairs.map((pair) => {
      const [, name = '', value = ''] =
        /^\s*([!#$%&'*+.^`|~\w-]+)\s*=\s*(.*?)\s*$/.exec(pair) ?? [];
      let decoded: string | undefined;
      try {
        decoded = decodeURIComponent(value);
      } catch {
        // It is said below what it should be.
      }
      if (name === '' || decoded === undefined || /[^\t\x20-\x7e]/.test(decoded))
        throw new Error('OTEL_EXPORTER_OTLP_HEADERS must be name=value pairs, percent-encoded');
      return [name.toLowerCase(), decoded];
    }),
  );
}

/**
 * The receiver, if there is one: the setting wins over the environment. Throws Error for a variable
 * that cannot be used, naming it.
 */
export function receiverOf(endpoint: string, env: Environment): Receiver | undefined {
  const url = endpoint === '' ? endpointIn(env) : new URL(endpoint);
  if (url === undefined) return undefined;
  const { OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE: own, OTEL_EXPORTER_OTLP_CERTIFICATE: common } =
    env;
  return { url, headers: headersIn(env), authorities: own || common || undefined };
}

/** Answers after which the same request may be taken. */
const RETRYABLE = new Set([429, 502, 503, 504]);
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

export function isRetryable(status: number): boolean {
  return RETRYABLE.has(status);
}

/** The pause before the next try: twice the last one, between half of it and the whole by chance. */
export function pauseMs(tries: number, chance: number): number {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (tries - 1));
  return longest * (0.5 + chance / 2);
}
