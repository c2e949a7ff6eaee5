/** A complaint handler holds the footage of a visit, and lets it go again. */
import { expect } from '@playwright/test';
import { expectAccessible, signIn, test, withGap } from './sign-in';

/** Longer than the column is wide. */
const REASON = 'Khiếu nại của bà Nguyễn Thị Lan về thái độ của cán bộ tiếp nhận ngày 20/11/2026, số 12/2026';

test('footage of a visit is held with a reason and released', async ({ page }) => {
  await signIn(page, 'vi');
  const { id } = await withGap(page);
  await page.goto(`/interactions/${id}`);
  const holds = page.getByRole('region', { name: 'Giữ chứng cứ' });
  const place = holds.getByRole('button', { name: 'Giữ bản ghi của lượt này' });
  await expect(place).toBeDisabled();
  await holds.getByRole('textbox').fill(REASON);
  await place.click();
  await expect(holds.getByText(REASON)).toBeVisible();
  await expect(place).toBeHidden();
  await expectAccessible(page);
  await holds.getByRole('button', { name: 'Bỏ giữ' }).click();
  await expect(place).toBeVisible();
});

test('a device shows how long its disk lasts and what is wrong', async ({ page }) => {
  await signIn(page, 'vi');
  await page.goto('/devices');
  const device = page.getByRole('article').filter({ hasText: 'Ổ đĩa sắp đầy' });
  await expect(device.getByText('Đủ dùng khoảng 3 ngày')).toBeVisible();
});
