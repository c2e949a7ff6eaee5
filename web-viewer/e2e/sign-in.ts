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

/** The first interaction with a gap in its footage. */
export async function withGap(page: Page): Promise<string> {
  return page.evaluate(async () => {
    const answer = await fetch('/api/v1/interactions?limit=100');
    const { items } = (await answer.json()) as {
      items: { interaction_id: string; coverage: string; counter_id: string }[];
    };
    const found = items.find((i) => i.coverage === 'partial' && i.counter_id.startsWith('ba-dinh'));
    return found?.interaction_id ?? '';
  });
}
