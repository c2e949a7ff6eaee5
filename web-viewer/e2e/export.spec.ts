/** Taking footage out: chosen, watched, saved, cancelled, refused. */
import { expect, type Page } from '@playwright/test';
import { expectAccessible, signIn, test, withoutGap } from './sign-in';

/** Exports are told as half done, however long the page takes to ask, until the answer is called. */
async function holdHalfway(page: Page): Promise<() => Promise<void>> {
  const halfway = { state: 'running', progress: 0.5, file: null, content: null };
  await page.route(/\/api\/v1\/exports(\/[^/]+)?$/, async (route) => {
    if (route.request().method() !== 'GET') return route.fallback();
    const response = await route.fetch();
    const told = await response.json();
    await route.fulfill({
      response,
      json: told.items
        ? { ...told, items: told.items.map((one: object) => ({ ...one, ...halfway })) }
        : { ...told, ...halfway },
    });
  });
  return () => page.unrouteAll({ behavior: 'wait' });
}

for (const viewport of [
  { width: 1440, height: 900 },
  { width: 390, height: 844 },
]) {
  test(`exports an interaction at ${viewport.width} px`, async ({ page }, info) => {
    await page.setViewportSize(viewport);
    await signIn(page);
    await page.goto(`/interactions/${await withoutGap(page)}`);
    await page.getByRole('button', { name: 'Trích xuất…' }).click();
    const dialog = page.getByRole('dialog');
    await expect(dialog.getByRole('heading', { name: 'Trích xuất bản ghi' })).toBeVisible();
    await dialog.getByLabel('Góc quay').selectOption({ index: 1 });
    const letFinish = await holdHalfway(page);
    await dialog.getByRole('button', { name: 'Tạo bản trích xuất' }).click();
    await expect(dialog.getByRole('progressbar')).toBeVisible();
    await expectAccessible(page);
    await letFinish();
    const link = dialog.getByRole('link', { name: /^Tải về/ }).first();
    await expect(link).toBeVisible();
    await expect(link).toHaveAttribute('download', /\.mp4$/);
    const saved = page.waitForEvent('download');
    await link.click();
    expect((await saved).suggestedFilename()).toMatch(/\.mp4$/);
    // Left and found again.
    await page.reload();
    await page.getByRole('button', { name: 'Trích xuất bản ghi' }).click();
    await expect(link).toBeVisible();
    await dialog.getByRole('button', { name: 'Tạo bản trích xuất' }).click();
    await expect(dialog.getByText('2 đoạn phim (ZIP)')).toBeVisible({ timeout: 10_000 });
    await expect(dialog.getByText('1 khoảng không có hình')).toBeVisible();
    await expectAccessible(page);
    await page.screenshot({ path: info.outputPath(`export-${viewport.width}.png`) });
    await dialog
      .getByRole('button', { name: /^Xóa bản trích xuất/ })
      .first()
      .click();
    await expect(dialog.getByText('2 đoạn phim (ZIP)')).toBeHidden();
  });
}

test('says why footage cannot be exported', async ({ page }) => {
  await signIn(page);
  await page.goto(`/interactions/${await withoutGap(page)}`);
  await page.route('**/api/v1/exports', (route) =>
    route.request().method() === 'POST'
      ? route.fulfill({
          status: 409,
          contentType: 'application/problem+json',
          body: JSON.stringify({ type: 'about:blank', title: 'Conflict', status: 409, code: 'not_sealed' }),
        })
      : route.fallback(),
  );
  await page.getByRole('button', { name: 'Trích xuất…' }).click();
  await page.getByRole('button', { name: 'Tạo bản trích xuất' }).click();
  await expect(page.getByRole('alert')).toHaveText('Máy ghi chưa niêm phong đoạn này. Thử lại sau một phút.');
});
