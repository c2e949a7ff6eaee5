import { expect, it } from 'vitest';
import { grow, isWithin } from './units';

const unit = (unit_id: string, parent_id: string | null) => ({ unit_id, name: unit_id, parent_id });
const units = [
  unit('ha-noi', null),
  unit('ba-dinh', 'ha-noi'),
  unit('phuc-xa', 'ba-dinh'),
  unit('lost', 'nowhere'),
];

it('grows a tree of any depth and keeps units whose parent is out of sight', () => {
  const roots = grow(units);
  expect(roots.map((b) => b.unit.unit_id)).toEqual(['ha-noi', 'lost']);
  expect(roots[0]?.children[0]?.children[0]?.unit.unit_id).toBe('phuc-xa');
});

it('knows what lies below a unit', () => {
  expect(isWithin(units, 'phuc-xa', 'ha-noi')).toBe(true);
  expect(isWithin(units, 'ha-noi', 'phuc-xa')).toBe(false);
});

it('does not hang on a ring', () => {
  const ring = [unit('a', 'b'), unit('b', 'a')];
  expect(isWithin(ring, 'a', 'c')).toBe(false);
  expect(grow(ring)).toHaveLength(2);
});
