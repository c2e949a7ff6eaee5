/** A dossier's story: its visits and changes of status, by day. */
import type { Dossier, Interaction } from '../api/types';
import { businessDate } from '../time/format';

export type Chapter =
  | { kind: 'visit'; at: string; visit: Interaction; index: number }
  | { kind: 'status'; at: string; status: string; source: string };

export interface Day {
  date: string;
  chapters: Chapter[];
}

/** Oldest day first, within a day in order of time. */
export function byDay(dossier: Pick<Dossier, 'visits' | 'statuses'>): Day[] {
  const chapters: Chapter[] = [
    ...dossier.visits.map((visit, index) => ({ kind: 'visit' as const, at: visit.start, visit, index })),
    ...dossier.statuses.map((s) => ({ kind: 'status' as const, ...s })),
  ];
  chapters.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  const days: Day[] = [];
  for (const chapter of chapters) {
    const date = businessDate(chapter.at);
    const last = days.at(-1);
    if (last?.date === date) last.chapters.push(chapter);
    else days.push({ date, chapters: [chapter] });
  }
  return days;
}
