/** Times as people here write them: dd/MM/yyyy, HH:mm:ss, in the zone of the service. */

export const ZONE = 'Asia/Ho_Chi_Minh';

const parts = new Intl.DateTimeFormat('en-GB', {
  timeZone: ZONE,
  year: 'numeric',
  month: '2-digit',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});

type Moment = string | number;

/** Milliseconds since 1970 of an RFC 3339 text or of such a number. */
export function toMs(moment: Moment): number {
  return typeof moment === 'number' ? moment : Date.parse(moment);
}

function fields(moment: Moment): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { type, value } of parts.formatToParts(toMs(moment))) found[type] = value;
  return found;
}

/** `23/11/2026` */
export function formatDate(moment: Moment): string {
  const f = fields(moment);
  return `${f.day}/${f.month}/${f.year}`;
}

/** `08:03:11` */
export function formatTime(moment: Moment): string {
  const f = fields(moment);
  return `${f.hour}:${f.minute}:${f.second}`;
}

/** `08:03` */
export function formatMinute(moment: Moment): string {
  const f = fields(moment);
  return `${f.hour}:${f.minute}`;
}

/** `23/11/2026 08:03:11` */
export function formatMoment(moment: Moment): string {
  return `${formatDate(moment)} ${formatTime(moment)}`;
}

/** `08:03:11`, with the date before it when that is not today's. */
export function formatRecent(moment: Moment, now: number): string {
  return businessDate(moment) === businessDate(now) ? formatTime(moment) : formatMoment(moment);
}

/** `2026-11-23`, the business date of a moment; sorts and compares as text. */
export function businessDate(moment: Moment): string {
  const f = fields(moment);
  return `${f.year}-${f.month}-${f.day}`;
}

/** The moment at which a business date (`2026-11-23`) begins in the zone. */
export function startOfDate(date: string): number {
  const asUtc = Date.parse(`${date}T00:00:00Z`);
  const f = fields(asUtc);
  const local = Date.parse(`${f.year}-${f.month}-${f.day}T${f.hour}:${f.minute}:${f.second}Z`);
  return asUtc - (local - asUtc);
}

/** The business date that lies a number of days after another. */
export function addDays(date: string, days: number): string {
  return new Date(Date.parse(`${date}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

/** Monday of the week of a business date. */
export function mondayOf(date: string): string {
  const weekday = new Date(`${date}T00:00:00Z`).getUTCDay();
  return addDays(date, -((weekday + 6) % 7));
}

/** A business date out of `23/11/2026`, also `3/1/26`; null if it is none. */
export function parseDate(text: string): string | null {
  const match = /^\s*(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})\s*$/.exec(text);
  if (!match) return null;
  const [, day = '', month = '', year = ''] = match;
  const iso = `${year.length === 2 ? '20' + year : year}-${month.padStart(2, '0')}-${day.padStart(2, '0')}`;
  const parsed = new Date(`${iso}T00:00:00Z`);
  return !Number.isNaN(parsed.getTime()) && parsed.toISOString().startsWith(iso) ? iso : null;
}

/** `2026-11-23` as `23/11/2026`. */
export function showDate(date: string): string {
  return date.split('-').reverse().join('/');
}

/** A length of time as a clock shows it: `12:41`, `1:02:41`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const pad = (n: number) => String(n).padStart(2, '0');
  return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${pad(m)}:${pad(s)}`;
}

/** The largest unit that says enough: how long ago, in words that a catalogue fills in. */
export function coarse(seconds: number): { unit: 'second' | 'minute' | 'hour' | 'day'; count: number } {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return { unit: 'second', count: whole };
  if (whole < 3600) return { unit: 'minute', count: Math.floor(whole / 60) };
  if (whole < 86_400) return { unit: 'hour', count: Math.floor(whole / 3600) };
  return { unit: 'day', count: Math.floor(whole / 86_400) };
}
