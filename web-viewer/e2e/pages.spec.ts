/** Every page in both languages and sizes: reachable, readable, within the screen. */
import { expect } from '@playwright/test';
import { expectAccessible, signIn, test, withGap } from './sign-in';

const DOSSIER = '000.00.17.H26-180615-0001';

for (const locale of ['vi', 'en'] as const) {
  for (const viewport of [
    { width: 1440, height: 900 },
    { width: 390, height: 844 },
  ]) {
    test(`pages are accessible in ${locale} at ${viewport.width} px`, async ({ page }) => {
      await page.setViewportSize(viewport);
      await page.goto('/login');
      await expect(page.locator('form')).toBeVisible();
      await expectAccessible(page);
      await signIn(page, locale);
      await expect(page.locator('html')).toHaveAttribute('lang', locale);
      await expectAccessible(page);
      const { id } = await withGap(page);
      for (const [address, sign] of [
        ['/search', 'li a .ticket'],
        ['/search?q=zzzz', '.nothing'],
        ['/search?q=cấm', '.failure'],
        [`/interactions/${id}`, '[role=slider] svg .covered'],
        [`/dossiers/${DOSSIER}`, 'article'],
        ['/devices', 'article'],
        ['/nirgends', '.nothing'],
      ] as const) {
        await page.goto(address);
        await expect(page.locator(sign).first()).toBeVisible();
        await expectAccessible(page);
      }
    });
  }
}
