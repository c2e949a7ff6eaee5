import { expect, it } from 'vitest';
import { without } from './query';

it('takes out the words of a chip and closes the hole', () => {
  expect(without('hôm qua 9h quầy 3', { start: 8, end: 10 })).toBe('hôm qua quầy 3');
  expect(without('A0123', { start: 0, end: 5 })).toBe('');
});

it('counts characters, not UTF-16 units', () => {
  expect(without('𝐀 quầy 3 khai sinh', { start: 2, end: 8 })).toBe('𝐀 khai sinh');
});
