/** Amounts with the separators of the page's language: `1.382,4` in Vietnamese, `1,382.4` in English. */
import { getLocale } from '../paraglide/runtime';

const tags = { vi: 'vi-VN', en: 'en-GB' };

function formatNumber(value: number, options: Intl.NumberFormatOptions): string {
  return new Intl.NumberFormat(tags[getLocale()], options).format(value);
}

/** An amount of data: `4,2 MB`, `812 GB`. */
export function formatBytes(bytes: number): string {
  const megabytes = bytes / 1e6;
  return megabytes >= 1000
    ? `${formatNumber(megabytes / 1000, { maximumFractionDigits: 1 })} GB`
    : `${formatNumber(megabytes, { minimumFractionDigits: 1, maximumFractionDigits: 1 })} MB`;
}
