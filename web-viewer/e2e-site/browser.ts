/** The browser as a person uses it: signed in, watched for complaints, with a stopwatch for pictures. */
import { test as base, expect, type Page } from '@playwright/test';
import { site } from './site';

/** A test that also fails on anything the browser complains of, failed requests included. */
export const test = base.extend<{ quiet: void; stopwatch: void }>({
  quiet: [
    async ({ page }, use) => {
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(String(error)));
      page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning')
          complaints.push(`${message.text()} (${message.location().url})`);
      });
      await use();
      expect(complaints).toEqual([]);
    },
    { auto: true },
  ],
  stopwatch: [
    async ({ page }, use) => {
      await page.addInitScript(() => {
        const seen = new WeakSet<HTMLVideoElement>();
        let since = 0;
        addEventListener('click', () => (since = performance.now()), { capture: true });
        new MutationObserver(() => {
          for (const video of document.querySelectorAll('video')) {
            if (seen.has(video)) continue;
            seen.add(video);
            const wanted = since;
            video.requestVideoFrameCallback(
              (now) => (document.documentElement.dataset.firstPictureMs = String(Math.round(now - wanted))),
            );
          }
        }).observe(document, { childList: true, subtree: true });
      });
      await use();
    },
    { auto: true },
  ],
});

/** How long the newest video element needed from the last click, or from the start of the page, to its first picture. */
export async function firstPictureMs(page: Page, act: () => Promise<void>): Promise<number> {
  await page.evaluate(() => delete document.documentElement.dataset.firstPictureMs);
  await act();
  const root = page.locator('html');
  await expect(root).toHaveAttribute('data-first-picture-ms', /\d/);
  return Number(await root.getAttribute('data-first-picture-ms'));
}

/** Signs in by the form and waits for the address asked for. */
export async function signIn(page: Page, role: keyof typeof site.users, next: string) {
  await page.addInitScript(() => localStorage.setItem('PARAGLIDE_LOCALE', 'vi'));
  await page.goto(`${site.url}/login?next=${encodeURIComponent(next)}`);
  await page.getByLabel('Tên đăng nhập').fill(site.users[role].name);
  await page.locator('input[name=password]').fill(site.users[role].password);
  await page.getByRole('button', { name: 'Đăng nhập' }).click();
  await page.waitForURL(`${site.url}${next}`);
}
