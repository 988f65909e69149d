import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { MillraceError, reasonOf } from '../errors.ts';
import type { Clock } from '../flow/index.ts';

export interface MetricsAddress {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
}

/** What `/metrics` and `/healthz` answer. */
export interface MetricsPage {
  readonly contentType: string;
  text(): Promise<string>;
  /** `isWell: false` is answered with 503. */
  health(): { readonly isWell: boolean; readonly details: Readonly<Record<string, string>> };
}

export interface MetricsServer {
  readonly url: string;
  /** Answers what was asked, for a second at most, and gives the port free. */
  close(): Promise<void>;
}

/**
 * Where `9464`, `host:port` or `[::1]:9464` says to listen; a port alone is one of the loopback interface, for what is served is for anybody who can
 * reach it.
 *
 * @throws MR_INVALID_OPTION
 */
export function metricsAddress(value: number | string, option: string): MetricsAddress {
  const [, bracketed, plain, digits] = ADDRESS.exec(String(value)) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > PORT_MAX) {
    throw new MillraceError('MR_INVALID_OPTION', { option, value: JSON.stringify(value), bound: ADDRESS_BOUND });
  }
  return { host: bracketed ?? plain ?? LOOPBACK, port };
}

/**
 * Serves `/metrics` (Prometheus's text format) and `/healthz` (JSON).
 *
 * @throws MR_METRICS_UNSERVED when it cannot listen there.
 */
export async function serveMetrics({ host, port }: MetricsAddress, page: MetricsPage, clock: Clock): Promise<MetricsServer> {
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
    // One answer, one connection: none is left over at the end.
    response.setHeader('connection', 'close');
    answer(request, response, page).catch((error: unknown) => {
      if (!response.headersSent) send(response, 500, 'text/plain; charset=utf-8', `${reasonOf(error)}\n`);
      else response.destroy();
    });
  });
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, exclusive: true }, resolve);
  }).catch((cause: unknown) => {
    throw new MillraceError('MR_METRICS_UNSERVED', { address: addressText(host, port), reason: listenProblem(cause) }, cause);
  });
  server.on('error', () => {
    // Of a connection that could not be accepted: whoever asked asks again.
  });
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${addressText(host, bound)}/metrics`,
    close: () =>
      new Promise((resolve) => {
        const cancel = clock.after(CLOSE_PATIENCE_MS, () => server.closeAllConnections());
        server.close(() => {
          cancel();
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

async function answer({ method, url }: IncomingMessage, response: ServerResponse, page: MetricsPage): Promise<void> {
  const path = (url ?? '').replace(/[?#].*$/s, '');
  if (path !== '/metrics' && path !== '/healthz')
    return send(response, 404, 'text/plain; charset=utf-8', 'There are /metrics and /healthz.\n');
  if (method !== 'GET' && method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    return send(response, 405, 'text/plain; charset=utf-8', 'Only GET.\n');
  }
  if (path === '/metrics') return send(response, 200, page.contentType, await page.text());
  const { isWell, details } = page.health();
  const body = JSON.stringify({ status: isWell ? 'ok' : 'failed', ...details });
  return send(response, isWell ? 200 : 503, 'application/json; charset=utf-8', `${body}\n`);
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' });
  response.end(body);
}

function addressText(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function listenProblem(error: unknown): string {
  const { code } = error as { readonly code?: unknown };
  return (typeof code === 'string' ? PROBLEMS[code] : undefined) ?? reasonOf(error);
}

const PROBLEMS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use',
  EACCES: 'this process may not listen on that port',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'the host is not known',
};
const LOOPBACK = '127.0.0.1';
const ADDRESS = /^(?:(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+)):)?(\d{1,5})$/;
const ADDRESS_BOUND = 'a port from 0 to 65535, or host:port, such as 9464 or 0.0.0.0:9464';
const PORT_MAX = 65_535;
const REQUEST_TIMEOUT_MS = 10_000;
const CONNECTIONS_MAX = 64;
const CLOSE_PATIENCE_MS = 1000;
