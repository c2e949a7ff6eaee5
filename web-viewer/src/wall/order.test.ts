import { describe, expect, it } from 'vitest';
import { orderWall, type Ranked } from './order';

const c = (counter_id: string, urgency: number, name = counter_id): Ranked => ({
  counter_id,
  name,
  site_name: 'Tây Hồ',
  urgency,
});

describe('order of the wall', () => {
  it('shows the worst first, then by name with numbers as numbers', () => {
    expect(orderWall([], [c('a', 0, 'Quầy 10'), c('b', 0, 'Quầy 2'), c('x', 40)])).toEqual(['x', 'b', 'a']);
  });

  it('does not swap tiles for a small difference', () => {
    expect(orderWall(['a', 'b'], [c('a', 10), c('b', 14)])).toEqual(['a', 'b']);
  });

  it('lets a tile that grew much worse pass all others', () => {
    expect(orderWall(['a', 'b', 'd'], [c('a', 10), c('b', 12), c('d', 60)])).toEqual(['d', 'a', 'b']);
  });

  it('drops counters that are gone and places new ones', () => {
    expect(orderWall(['gone', 'a', 'b'], [c('a', 30), c('b', 0), c('n', 20)])).toEqual(['a', 'n', 'b']);
  });

  it('gives the same answer when asked again', () => {
    const counters = [c('a', 3), c('b', 9), c('d', 1), c('e', 50), c('f', 7)];
    const once = orderWall(['a', 'b', 'd', 'e', 'f'], counters);
    expect(orderWall(once, counters)).toEqual(once);
  });
});
