import { expect, it } from 'vitest';
import { toQuery } from './filters';

it('asks for whole business days, the last one included', () => {
  const query = toQuery(new URLSearchParams('from=2026-11-22&to=2026-11-23'));
  expect(query.from).toBe('2026-11-21T17:00:00.000Z');
  expect(query.to).toBe('2026-11-23T17:00:00.000Z');
});

it('leaves out what was not asked', () => {
  expect(toQuery(new URLSearchParams('q=%20&rating=high'))).toEqual({ limit: 25 });
  expect(toQuery(new URLSearchParams('q=khai sinh&rating=low'))).toMatchObject({
    q: 'khai sinh',
    rating_max: 40,
  });
});
