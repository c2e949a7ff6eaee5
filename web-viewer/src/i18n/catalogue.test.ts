import { expect, it } from 'vitest';
import en from '../../messages/en.json';
import vi from '../../messages/vi.json';

const slots = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();

it('has every message in both languages, with the same slots', () => {
  expect(Object.keys(en).sort()).toEqual(Object.keys(vi).sort());
  for (const [key, text] of Object.entries(vi)) {
    const other = (en as Record<string, string>)[key] ?? '';
    expect(other.trim(), key).not.toBe('');
    expect(slots(other), key).toEqual(slots(text));
  }
});
