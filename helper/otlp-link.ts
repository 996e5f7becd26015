// `--otlp-endpoint`: metrics are pushed by OTLP. What does that is loaded only where there is one.

import type { HelperConfig } from './config.ts';
import type { Log } from './log.ts';
import type { MetricsSource } from './metrics-page.ts';
import { receiverOf } from './otlp/receiver.ts';
import type { Push } from './otlp-push.ts';

export type OtlpPlace = Pick<HelperConfig, 'otlpEndpoint' | 'otlpSeconds' | 'nodeName'>;

export interface PushLink {
  /** Why a receiver has no metrics; nothing when all is well. */
  readonly notices: () => readonly string[];
  readonly close: () => void;
}

/**
 * Pushes metrics from now on, or nowhere. What is wrong with the settings is logged, and stays a
 * notice: caps do not hang on it.
 */
export function openPush(
  { otlpEndpoint, otlpSeconds, nodeName }: OtlpPlace,
  env: Readonly<Record<string, string | undefined>>,
  source: MetricsSource,
  log: Log,
): PushLink {
  let push: Push | undefined;
  let failure: string | undefined;
  let isClosed = false;
  const fail = (error: unknown): void => {
    failure = `No metrics are pushed by OTLP: ${(error as Error).message}`;
    log('warn', failure);
  };
  const open = async (): Promise<void> => {
    const receiver = receiverOf(otlpEndpoint, env);
    if (receiver === undefined) return;
    const { Push } = await import('./otlp-push.ts');
    if (isClosed) return;
    const node = nodeName === '' ? env['NODE_NAME'] : nodeName;
    push = new Push(receiver, source, { log, nodeName: node, periodMs: otlpSeconds * 1000 });
  };
  open().catch(fail);
  return {
    notices: () => [...(failure === undefined ? [] : [failure]), ...(push?.notices() ?? [])],
    close: () => {
      isClosed = true;
      push?.close();
    },
  };
}
