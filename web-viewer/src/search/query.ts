/** The one search box: what the server understood, and taking a piece of it back. */
import type { Understood } from '../api/types';

/** The query without the characters of one chip; positions count characters, not UTF-16 units. */
export function without(q: string, chip: Pick<Understood, 'start' | 'end'>): string {
  const characters = Array.from(q);
  characters.splice(chip.start, chip.end - chip.start);
  return characters.join('').replace(/\s+/g, ' ').trim();
}
