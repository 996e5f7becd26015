import { execFileSync } from 'node:child_process';
import path from 'node:path';

/** Makes a certificate for loopback and its key, `NAME.crt` and `NAME.key`, in a directory. */
export function makeKeyPair(
  directory: string,
  name: string,
): { readonly certificate: string; readonly key: string } {
  const file = path.join(directory, name);
  const [certificate, key] = [`${file}.crt`, `${file}.key`];
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
      ...['-days', '1', '-subj', '/CN=podpace', '-addext', 'subjectAltName=IP:127.0.0.1'],
      ...['-keyout', key, '-out', certificate],
    ],
    { stdio: 'ignore' },
  );
  return { certificate, key };
}
