/** The conditions of a search as the address holds them. */
import type { InteractionQuery } from '../api/client';
import { addDays, startOfDate } from '../time/format';

/** Ratings up to this share of their scale count as low. */
export const LOW_RATING_PERCENT = 40;

/** What to ask the server for; dates in the address are business dates, the last one included. */
export function toQuery(address: URLSearchParams): InteractionQuery {
  const query: InteractionQuery = { limit: 25 };
  for (const key of ['q', 'ticket', 'dossier', 'counter', 'site', 'officer'] as const) {
    const value = address.get(key)?.trim();
    if (value) query[key] = value;
  }
  const from = address.get('from');
  const to = address.get('to');
  if (from) query.from = new Date(startOfDate(from)).toISOString();
  if (to) query.to = new Date(startOfDate(addDays(to, 1))).toISOString();
  if (address.get('rating') === 'low') query.rating_max = LOW_RATING_PERCENT;
  return query;
}
