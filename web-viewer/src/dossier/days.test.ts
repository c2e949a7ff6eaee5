import { expect, it } from 'vitest';
import type { Interaction } from '../api/types';
import { byDay } from './days';

const visit = (start: string) => ({ start, interaction_id: start }) as Interaction;

it('puts visits and statuses of a day of the zone together, in order', () => {
  const days = byDay({
    visits: [visit('2026-11-21T17:30:00.000000Z'), visit('2026-11-23T02:00:00.000000Z')],
    statuses: [
      { at: '2026-11-22T16:59:00.000000Z', status: 'received', source: '/dvc' },
      { at: '2026-11-23T01:00:00.000000Z', status: 'returned', source: '/dvc' },
    ],
  });
  expect(days.map((d) => d.date)).toEqual(['2026-11-22', '2026-11-23']);
  expect(days[0]?.chapters.map((c) => c.kind)).toEqual(['visit', 'status']);
  expect(days[1]?.chapters.map((c) => c.kind)).toEqual(['status', 'visit']);
});
