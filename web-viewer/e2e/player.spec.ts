/** What the complaint handler does: find, play, cross a gap, follow a dossier. */
import { expect, type Page } from '@playwright/test';
import { expectAccessible, signIn, test, withFootageAtTheRecorder, withGap, withoutGap } from './sign-in';

const shownTime = (page: Page) => page.getByTestId('wall-time').textContent();
const videos = (page: Page) =>
  page.evaluate(() => [...document.querySelectorAll('video')].map((v) => v.currentTime));

test.beforeEach(({ page }) => signIn(page));

test('brings a stream back in step that fell behind', async ({ page }) => {
  await page.goto(`/interactions/${await withoutGap(page)}`);
  await expect(page.getByTestId('wall-time')).toHaveText(/^\d/);
  const before = await shownTime(page);
  await expect(async () => expect(await shownTime(page)).not.toBe(before)).toPass();
  await page.evaluate(() => {
    const desk = document.querySelectorAll('video')[1];
    if (desk) desk.currentTime -= 0.4;
  });
  await expect(async () => {
    const [front = 0, desk = 99] = await videos(page);
    expect(Math.abs(front - desk)).toBeLessThan(0.04);
    // Where decoding itself stutters, the stream falls behind again and again before it is back.
  }).toPass({ timeout: 40_000, intervals: [100] });
});

test('names the cause of a gap and goes on behind it', async ({ page }) => {
  const { id, gap } = await withGap(page);
  await page.goto(`/interactions/${id}?t=${gap}`);
  await expect(page.getByTestId('gap-cause')).toHaveText('Camera mất kết nối');
  await page.getByRole('button', { name: /^Phát tiếp từ/ }).click();
  await expect(page.getByTestId('gap-cause')).toBeHidden();
  await expect(page.getByTestId('wall-time')).toHaveText(/:18:0\d/);
});

test('fetches what only the recorder has and plays it by itself', async ({ page }) => {
  const { id, moment } = await withFootageAtTheRecorder(page);
  await page.goto(`/interactions/${id}?t=${moment}`);
  await expect(page.getByTestId('edge-title')).toHaveText('Hình còn ở máy ghi');
  await expectAccessible(page);
  await page.getByRole('button', { name: 'Lấy hình về' }).press('Enter');
  await expect(page.getByRole('progressbar', { name: 'Đang lấy hình về' })).toBeVisible();
  await expect(page.getByTestId('edge-title')).toBeHidden({ timeout: 20_000 });
  const before = await shownTime(page);
  await expect(async () => expect(await shownTime(page)).not.toBe(before)).toPass();
});

test('keeps the moment and the speed in the address', async ({ page }) => {
  await page.goto(`/interactions/${await withoutGap(page)}`);
  await expect(page.getByTestId('wall-time')).toHaveText(/\d\d:\d\d:\d\d/);
  await page.keyboard.press('k');
  await page.keyboard.press('>');
  await expect(page).toHaveURL(/speed=1\.5/);
  await expect(page).toHaveURL(/t=/);
  const shown = await shownTime(page);
  await page.reload();
  await expect(page.getByTestId('wall-time')).toHaveText(shown ?? '');
  await expect(page.getByRole('combobox')).toHaveValue('1.5');
});

test('plays all visits of a dossier as one film', async ({ page }) => {
  await page.goto('/dossiers/000.00.17.H26-180615-0001');
  await page.getByRole('button', { name: 'Phát tất cả' }).click();
  await expect(page.getByText(/^Lượt 1\//)).toBeVisible();
  await page.keyboard.press(']');
  await expect(page.getByText(/^Lượt 2\//)).toBeVisible();
  await expect(page).toHaveURL(/play=/);
});

test('a chip taken away changes the search', async ({ page }) => {
  await page.keyboard.press('/');
  await page.keyboard.type('khai sinh');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/q=khai/);
  await page.getByRole('button', { name: /^Bỏ “khai sinh”/ }).click();
  await expect(page).not.toHaveURL(/q=/);
});
