import AxeBuilder from '@axe-core/playwright';
import { test as base, expect, type Page } from '@playwright/test';

/** A test that also fails on anything the browser complains of, but answers that the test asked for. */
export const test = base.extend<{ quiet: void }>({
  quiet: [
    async ({ page }, use) => {
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(String(error)));
      page.on('console', (message) => {
        if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
          complaints.push(message.text());
      });
      await use();
      expect(complaints).toEqual([]);
    },
    { auto: true },
  ],
});

/** Signs in on the invented server in a language. */
export async function signIn(page: Page, locale: 'vi' | 'en' = 'vi') {
  await page.addInitScript((l) => localStorage.setItem('PARAGLIDE_LOCALE', l), locale);
  await page.goto('/login');
  await page.locator('input[name=username]').fill('khieunai');
  await page.locator('input[name=password]').fill('mock');
  await page.locator('form button.primary').click();
  await expect(page.locator('article').first()).toBeVisible();
}

/** Nothing that keeps someone out, and nothing that runs out of the screen sideways. */
export async function expectAccessible(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).join(', ')}`)).toEqual([]);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(overflow).toBeLessThanOrEqual(0);
}

/** The newest interactions in Ba Đình that ended long enough ago for their footage to be here. */
async function reviewable(page: Page, site = 'ba-dinh') {
  const answer = await page.request.get('/api/v1/interactions?limit=5000');
  const { items } = (await answer.json()) as {
    items: {
      interaction_id: string;
      coverage: string;
      counter_id: string;
      start: string;
      end: string | null;
    }[];
  };
  return items
    .filter((i) => i.counter_id.startsWith(site) && i.end !== null)
    .map((i) => ({ ...i, start: Date.parse(i.start), end: Date.parse(i.end ?? '') }))
    .filter((i) => i.end < Date.now() - 600_000);
}

/** The invented cameras fail each hour for 42 s from minute 17:20 on; this lies within. */
const GAP_MS = 17 * 60_000 + 30_000;

/** An interaction with footage all through and before. */
export async function withoutGap(page: Page): Promise<string> {
  for (const { interaction_id, coverage, start, end } of await reviewable(page)) {
    // The minute before it is loaded too.
    const sinceGap = (start - GAP_MS) % 3_600_000;
    if (coverage === 'full' && end - start > 120_000 && sinceGap > 180_000) return interaction_id;
  }
  throw new Error('every interaction has a gap');
}

/** An interaction with a gap well inside, and a moment in that gap. */
export async function withGap(page: Page): Promise<{ id: string; gap: string }> {
  for (const { interaction_id, start, end } of await reviewable(page)) {
    const gap = Math.ceil((start - GAP_MS) / 3_600_000) * 3_600_000 + GAP_MS;
    if (gap - start > 60_000 && end - gap > 90_000)
      return { id: interaction_id, gap: new Date(gap).toISOString() };
  }
  throw new Error('no interaction has a gap');
}

/** An interaction of which the recorder has a stretch that nobody fetched, and a moment shortly before that ends. */
export async function withFootageAtTheRecorder(page: Page): Promise<{ id: string; moment: string }> {
  for (const { interaction_id, start, end } of await reviewable(page, 'tay-ho-q01')) {
    const from = Math.ceil((start - 25 * 60_000) / 3_600_000) * 3_600_000 + 25 * 60_000;
    if (from > start && end - from > 60_000)
      return { id: interaction_id, moment: new Date(from + 2000).toISOString() };
  }
  throw new Error('no interaction has footage at the recorder');
}
