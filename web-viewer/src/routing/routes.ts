/** The addresses of the page, as types: reading and writing them happens only here. */

export type Route =
  | { name: 'home' }
  | { name: 'login' }
  | { name: 'live' }
  | { name: 'search' }
  | { name: 'interaction'; id: string }
  | { name: 'dossier'; code: string }
  | { name: 'devices' }
  | { name: 'not_found' };

type Query = Record<string, string | number | null | undefined>;

/** Reads a path; anything unknown is `not_found`. */
export function parsePath(path: string): Route {
  const pieces = path.split('/').filter(Boolean);
  let decoded: string[];
  try {
    decoded = pieces.map(decodeURIComponent);
  } catch {
    return { name: 'not_found' };
  }
  const [room, key, ...rest] = decoded;
  if (rest.length > 0) return { name: 'not_found' };
  if (key === undefined) {
    switch (room) {
      case undefined:
        return { name: 'home' };
      case 'login':
      case 'live':
      case 'search':
      case 'devices':
        return { name: room };
    }
  } else if (room === 'interactions') return { name: 'interaction', id: key };
  else if (room === 'dossiers') return { name: 'dossier', code: key };
  return { name: 'not_found' };
}

/** The address of a route; empty values are left out of the query. */
export function href(route: Route, query: Query = {}): string {
  const filled = Object.entries(query).flatMap(([key, value]) =>
    value === null || value === undefined || value === '' ? [] : [[key, String(value)]],
  );
  const search = new URLSearchParams(filled).toString();
  return path(route) + (search && `?${search}`);
}

function path(route: Route): string {
  switch (route.name) {
    case 'home':
    case 'not_found':
      return '/';
    case 'interaction':
      return `/interactions/${encodeURIComponent(route.id)}`;
    case 'dossier':
      return `/dossiers/${encodeURIComponent(route.code)}`;
    default:
      return `/${route.name}`;
  }
}
