// What keeps the API server from being heard, in words that say what to do. Pure.

/** No certificate stands where the authority's should. */
export const ABSENT_AUTHORITY =
  'no certificate stands where that of the authority of the API server should: see ca.crt of the ' +
  "service account, or the kubeconfig's certificate-authority";

/** Codes of Node's for a certificate that the authority has not signed. */
const STRANGERS: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'INVALID_CA',
]);

/** A clause about why a request has failed. */
export function describeFailure({
  message,
  code = '',
}: Error & { readonly code?: string }): string {
  if (STRANGERS.has(code))
    return (
      `the API server's certificate is a stranger's (${code}): nothing was sent to it; it must be signed by the ` +
      'authority that podpaced has been given'
    );
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `the API server's certificate is for another name (${message}): nothing was sent to it`;
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID')
    return `the API server's certificate is not valid now (${code}): nothing was sent to it`;
  if (code === 'ABORT_ERR') return 'the API server has not answered in time';
  return code !== '' && !message.includes(code) ? `${message} (${code})` : message;
}

const PERMISSION = 'bind the role of podpaced to its service account (pods: list, watch)';

/** A clause about an answer that is none of what was asked for. */
export function describeStatus(status: number, message: string): string {
  const said = `the API server answers ${status}${message === '' ? '' : ` (${message})`}`;
  if (status === 401)
    return `${said}: it does not take the token or certificate, which is read anew`;
  if (status === 403) return `${said}: ${PERMISSION}`;
  return said;
}
