/** Every call to the server, and the one kind of failure that the page knows. */
import createClient from 'openapi-fetch';
import type { components, InteractionQuery, paths } from './schema';

export type { InteractionQuery };
type ProblemBody = components['schemas']['Problem'];
type ExportRequest = components['schemas']['ExportRequest'];

/** A call that did not succeed; `code` is stable and chooses the words shown. */
export class Problem extends Error {
  readonly code: string;
  readonly status: number;
  readonly detail: string | null;

  constructor(status: number, code: string, detail: string | null = null) {
    super(`${status} ${code}`);
    this.status = status;
    this.code = code;
    this.detail = detail;
  }
}

const client = createClient<paths>({ credentials: 'same-origin' });

interface Outcome<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

let signedOut: () => void = () => {};

/** Names who is told when the server no longer knows this session. */
export function onSignedOut(listener: () => void) {
  signedOut = listener;
}

async function settle<T>(call: Promise<Outcome<T>>): Promise<T> {
  let outcome: Outcome<T>;
  try {
    outcome = await call;
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === 'AbortError') throw cause;
    throw new Problem(0, 'unreachable');
  }
  if (outcome.response.ok) return outcome.data as T;
  const body = (outcome.error ?? {}) as Partial<ProblemBody>;
  const status = outcome.response.status;
  const problem = new Problem(status, body.code ?? codeOfStatus(status), body.detail ?? null);
  if (problem.code === 'not_signed_in') signedOut();
  throw problem;
}

/** For answers that are not problem documents, e.g. from a proxy in between. */
function codeOfStatus(status: number): string {
  if (status === 401) return 'not_signed_in';
  if (status === 403) return 'forbidden';
  if (status === 404) return 'not_found';
  return 'server_error';
}

export const api = {
  signIn: (username: string, password: string) =>
    settle(client.POST('/api/v1/session', { body: { username, password } })),
  signOut: () => settle(client.DELETE('/api/v1/session')),
  me: () => settle(client.GET('/api/v1/me')),
  units: () => settle(client.GET('/api/v1/units')),
  counter: (id: string) => settle(client.GET('/api/v1/counters/{id}', { params: { path: { id } } })),
  timeline: (id: string, from: string, to: string, signal?: AbortSignal) =>
    settle(
      client.GET('/api/v1/counters/{id}/timeline', {
        params: { path: { id }, query: { from, to } },
        signal,
      }),
    ),
  interactions: (query: InteractionQuery, signal?: AbortSignal) =>
    settle(client.GET('/api/v1/interactions', { params: { query }, signal })),
  interaction: (id: string) => settle(client.GET('/api/v1/interactions/{id}', { params: { path: { id } } })),
  dossier: (code: string) => settle(client.GET('/api/v1/dossiers/{code}', { params: { path: { code } } })),
  holds: (counter: string) => settle(client.GET('/api/v1/holds', { params: { query: { counter } } })),
  hold: (counter: string, from: string, to: string, reason: string) =>
    settle(client.POST('/api/v1/holds', { body: { counter, from, to, reason } })),
  releaseHold: (id: string) => settle(client.DELETE('/api/v1/holds/{id}', { params: { path: { id } } })),
  beginFetch: (streamId: string, from: string, to: string) =>
    settle(
      client.POST('/api/v1/streams/{id}/fetch', {
        params: { path: { id: streamId } },
        body: { from, to },
      }),
    ),
  fetchState: (id: string) => settle(client.GET('/api/v1/fetches/{id}', { params: { path: { id } } })),
  cancelFetch: (id: string) => settle(client.DELETE('/api/v1/fetches/{id}', { params: { path: { id } } })),
  health: (id: string, days: number, signal?: AbortSignal) =>
    settle(client.GET('/api/v1/counters/{id}/health', { params: { path: { id }, query: { days } }, signal })),
  recorders: () => settle(client.GET('/api/v1/recorders')),
  exports: () => settle(client.GET('/api/v1/exports')),
  ask: (request: ExportRequest) => settle(client.POST('/api/v1/exports', { body: request })),
  removeExport: (id: string) => settle(client.DELETE('/api/v1/exports/{id}', { params: { path: { id } } })),
};

const stream = (id: string) => `/api/v1/streams/${encodeURIComponent(id)}`;

/** Addresses that elements and hls.js load by themselves. */
export const urls = {
  liveState: '/api/v1/live-state',
  playlist: (id: string, fromMs: number, toMs: number) =>
    `${stream(id)}/playlist.m3u8?from=${isoMs(fromMs)}&to=${isoMs(toMs)}`,
  still: (id: string, atMs: number, width: number) =>
    `${stream(id)}/still.jpg?at=${isoMs(atMs)}&width=${width}`,
  whep: (id: string) => `${stream(id)}/whep`,
};

function isoMs(ms: number): string {
  return new Date(ms).toISOString();
}
