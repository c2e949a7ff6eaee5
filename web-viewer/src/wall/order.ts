/** The order of the wall: worst first, but without tiles that hop about. */

export interface Ranked {
  counter_id: string;
  name: string;
  site_name: string;
  urgency: number;
}

/** A tile passes another only when it is worse by more than this, so two equals never swap to and fro. */
export const MARGIN = 5;

/**
 * The ids in their new order, given the one on show. New counters are placed by urgency alone;
 * equals stand by site and name.
 */
export function orderWall(shown: string[], counters: Ranked[]): string[] {
  const byId = new Map(counters.map((c) => [c.counter_id, c]));
  const order = shown.flatMap((id) => byId.get(id) ?? []);
  const known = new Set(shown);
  for (const counter of counters.filter((c) => !known.has(c.counter_id)).sort(worstFirst)) {
    const place = order.findIndex((other) => worstFirst(counter, other) < 0);
    order.splice(place < 0 ? order.length : place, 0, counter);
  }
  // Each swap undoes one inversion, so this ends.
  for (let moved = true; moved;) {
    moved = false;
    for (let i = 1; i < order.length; i++) {
      const [above, below] = [order[i - 1]!, order[i]!];
      if (below.urgency > above.urgency + MARGIN) {
        [order[i - 1], order[i]] = [below, above];
        moved = true;
      }
    }
  }
  return order.map((c) => c.counter_id);
}

function worstFirst(a: Ranked, b: Ranked): number {
  return (
    b.urgency - a.urgency ||
    a.site_name.localeCompare(b.site_name, 'vi', { numeric: true }) ||
    a.name.localeCompare(b.name, 'vi', { numeric: true })
  );
}
