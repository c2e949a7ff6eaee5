import { expect, it } from 'vitest';
import { href, parsePath, type Route } from './routes';

it('reads back every address it writes', () => {
  const routes: Route[] = [
    { name: 'home' },
    { name: 'live' },
    { name: 'search' },
    { name: 'devices' },
    { name: 'interaction', id: '0198-aa' },
    { name: 'dossier', code: '000.00.17.H26-180615-0001' },
    { name: 'dossier', code: 'A/B ?#%' },
  ];
  for (const route of routes) expect(parsePath(new URL(href(route), 'http://x').pathname)).toEqual(route);
});

it('leaves empty values out of the query', () => {
  expect(href({ name: 'search' }, { q: 'khai sinh', cursor: null, from: '' })).toBe('/search?q=khai+sinh');
});

it('does not know other addresses, nor broken escapes', () => {
  for (const path of ['/live/x', '/interactions', '/interactions/a/b', '/dossiers/%E0%A4%A'])
    expect(parsePath(path)).toEqual({ name: 'not_found' });
});
