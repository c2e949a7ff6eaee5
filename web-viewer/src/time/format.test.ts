import { describe, expect, it } from 'vitest';
import {
  addDays,
  businessDate,
  coarse,
  formatDuration,
  formatMoment,
  formatRecent,
  mondayOf,
  parseDate,
  startOfDate,
} from './format';

describe('times', () => {
  it('shows UTC in the zone of the service, day before month', () => {
    expect(formatMoment('2026-11-23T01:03:11.500000Z')).toBe('23/11/2026 08:03:11');
  });

  it('leaves the date of a recent moment out only on the same day of the zone', () => {
    const now = Date.parse('2026-11-22T17:30:00Z');
    expect(formatRecent('2026-11-22T17:00:05Z', now)).toBe('00:00:05');
    expect(formatRecent('2026-11-22T16:59:59Z', now)).toBe('22/11/2026 23:59:59');
  });

  it('gives midnight hour 00, not 24', () => {
    expect(formatMoment('2026-11-22T17:00:00Z')).toBe('23/11/2026 00:00:00');
  });

  it('turns the date at midnight of the zone, not of UTC', () => {
    expect(businessDate('2026-11-22T16:59:59.999Z')).toBe('2026-11-22');
    expect(businessDate('2026-11-22T17:00:00Z')).toBe('2026-11-23');
    expect(startOfDate('2026-11-23')).toBe(Date.parse('2026-11-22T17:00:00Z'));
  });

  it('starts the week on Monday', () => {
    expect(mondayOf('2026-11-23')).toBe('2026-11-23');
    expect(mondayOf('2026-11-29')).toBe('2026-11-23');
    expect(addDays('2026-12-31', 1)).toBe('2027-01-01');
  });

  it('reads dates day first and refuses days that do not exist', () => {
    expect(parseDate('23/11/2026')).toBe('2026-11-23');
    expect(parseDate(' 3.1.26 ')).toBe('2026-01-03');
    expect(parseDate('31/02/2026')).toBeNull();
    expect(parseDate('11/23/2026')).toBeNull();
  });

  it('shows hours only when there are any', () => {
    expect(formatDuration(761.9)).toBe('12:41');
    expect(formatDuration(3761)).toBe('1:02:41');
    expect(formatDuration(-3)).toBe('00:00');
  });

  it('rounds down to the largest unit', () => {
    expect(coarse(59.9)).toEqual({ unit: 'second', count: 59 });
    expect(coarse(3599)).toEqual({ unit: 'minute', count: 59 });
    expect(coarse(200_000)).toEqual({ unit: 'day', count: 2 });
  });
});
