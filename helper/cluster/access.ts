// Where the API server is and how one proves who one is: within a pod, or by a kubeconfig as kubeadm
// and the kubelet write it. Pure: which files to read, not what they hold.

import path from 'node:path';
import { isJsonObject, object, optional, list, string, text } from '../protocol/shape.ts';
import { show } from '../wire/show.ts';

/** Something that stands in a file, which may be replaced at any time, or was given as it is. */
export type Source = { readonly file: string } | { readonly text: string };

export type Credentials =
  { readonly token: Source } | { readonly certificate: Source; readonly key: Source };

/** How to reach the API server. */
export interface Access {
  /** Without the brackets of an IPv6 address. */
  readonly host: string;
  readonly port: number;
  /** What comes before the paths of the API; empty or with a slash in front. */
  readonly pathPrefix: string;
  /** The name in the server's certificate, where it is not the host's. */
  readonly serverName?: string;
  /** Certificates of the authority that has signed the server's: no other is trusted. */
  readonly ca: Source;
  readonly credentials: Credentials;
}

/** Why the API server cannot be reached as things are configured; the message has the remedy. */
export class AccessError extends Error {
  override readonly name = 'AccessError';
}

/** What the kubelet mounts into a pod. */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

const HTTPS_PORT = 443;

/** Within a pod, by what the kubelet puts there. Throws AccessError outside of one. */
export function accessInPod(environment: Readonly<Record<string, string | undefined>>): Access {
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '' } = environment;
  const number = port === '' ? HTTPS_PORT : Number(port);
  if (host === '' || !Number.isInteger(number) || number < 1 || number > 65_535)
    throw new AccessError(
      `Cannot find the API server: KUBERNETES_SERVICE_HOST is ${show(host)} and KUBERNETES_SERVICE_PORT ` +
        `${show(port)}; run podpaced in a pod, or give --kubeconfig`,
    );
  return {
    ...{ host, port: number, pathPrefix: '' },
    ca: { file: `${SERVICE_ACCOUNT}/ca.crt` },
    credentials: { token: { file: `${SERVICE_ACCOUNT}/token` } },
  };
}

const word = optional(string);
const cluster = object({
  server: text,
  'certificate-authority': word,
  'certificate-authority-data': word,
  'tls-server-name': word,
  'insecure-skip-tls-verify': (value) => value === true || undefined,
  'proxy-url': word,
});
const user = object({
  token: word,
  tokenFile: word,
  'client-certificate': word,
  'client-certificate-data': word,
  'client-key': word,
  'client-key-data': word,
});
const context = object({ cluster: text, user: text });
const kubeconfig = object({
  'current-context': text,
  contexts: list(object({ name: text, context })),
  clusters: list(object({ name: text, cluster })),
  users: list(object({ name: text, user: (value) => (isJsonObject(value) ? value : {}) })),
});

function named<T extends { readonly name: string }>(
  entries: readonly T[],
  name: string,
  what: string,
): T {
  const entry = entries.find((one) => one.name === name);
  if (entry !== undefined) return entry;
  throw new AccessError(`there is no ${what} ${show(name)}`);
}

/** Something of which there is the text itself, in base64, or the path of a file. */
function sourceOf(
  directory: string,
  file: string | undefined,
  base64: string | undefined,
): Source | undefined {
  // As kubectl has it, the text wins.
  if (base64 !== undefined && base64 !== '')
    return { text: Buffer.from(base64, 'base64').toString('utf8') };
  return file === undefined || file === '' ? undefined : { file: path.resolve(directory, file) };
}

function credentialsOf(directory: string, given: Readonly<Record<string, unknown>>): Credentials {
  const unsupported = ['exec', 'auth-provider', 'username', 'password'].find((key) =>
    Object.hasOwn(given, key),
  );
  if (unsupported !== undefined)
    throw new AccessError(
      `its user has "${unsupported}", which podpaced does not support: give it a token or a client certificate`,
    );
  const known = user(given, 'user');
  const certificate = sourceOf(
    directory,
    known['client-certificate'],
    known['client-certificate-data'],
  );
  const key = sourceOf(directory, known['client-key'], known['client-key-data']);
  if (certificate !== undefined && key !== undefined) return { certificate, key };
  const { token = '', tokenFile = '' } = known;
  // As kubectl has it, the file wins.
  if (tokenFile !== '') return { token: { file: path.resolve(directory, tokenFile) } };
  if (token !== '') return { token: { text: token } };
  throw new AccessError('its user has neither a token nor a client certificate with its key');
}

/**
 * What a kubeconfig says, of which `value` is what its YAML holds. Relative paths are from the
 * `directory` of the file. Throws AccessError, or ShapeError for what is no kubeconfig.
 */
export function accessOf(value: unknown, directory: string): Access {
  const config = kubeconfig(value, '');
  const current = config['current-context'];
  const chosen = named(config.contexts, current, 'context').context;
  const { cluster: known } = named(config.clusters, chosen.cluster, 'cluster');
  const { user: given } = named(config.users, chosen.user, 'user');
  const unsupported = (['insecure-skip-tls-verify', 'proxy-url'] as const).find(
    (key) => known[key] !== undefined,
  );
  if (unsupported !== undefined)
    throw new AccessError(`its cluster has "${unsupported}", which podpaced does not support`);
  const { server } = known;
  const url = URL.canParse(server) ? new URL(server) : undefined;
  if (url?.protocol !== 'https:')
    throw new AccessError(`its server must be a URL with https, got ${show(server)}`);
  const ca = sourceOf(
    directory,
    known['certificate-authority'],
    known['certificate-authority-data'],
  );
  if (ca === undefined)
    throw new AccessError(
      'its cluster has no certificate-authority: podpaced trusts no public authority in its place',
    );
  const serverName = known['tls-server-name'];
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? HTTPS_PORT : Number(url.port),
    pathPrefix: url.pathname.replace(/\/+$/, ''),
    ...(serverName !== undefined && serverName !== '' && { serverName }),
    ca,
    credentials: credentialsOf(directory, given),
  };
}
