import { expect, it } from 'vitest';
import { overwriteGetLocale } from '../paraglide/runtime';
import { formatBytes } from './numbers';

it('separates thousands and decimals as the language does', () => {
  overwriteGetLocale(() => 'vi');
  expect(formatBytes(4_160_000)).toBe('4,2 MB');
  expect(formatBytes(1_000e9)).toBe('1.000 GB');
  overwriteGetLocale(() => 'en');
  expect(formatBytes(4_160_000)).toBe('4.2 MB');
  expect(formatBytes(1_382.4e6)).toBe('1.4 GB');
  expect(formatBytes(1_000e9)).toBe('1,000 GB');
});
