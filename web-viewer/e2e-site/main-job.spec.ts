/** The main job on the real programs: seen live, told by the queue, found by its dossier, played back over a gap. */
import { expect, type Page } from '@playwright/test';
import { expectAccessible } from '../e2e/sign-in';
import { firstPictureMs, signIn, test } from './browser';
import { expectFrames, loudest, mark } from './proof';
import { harmCamera, site, tell } from './site';

const TICKET = { series: 'A', number: '0123' };
const CODE = 'H26.17.05-261123-0007';
/** A code of an agency's own making, with a letter that no normal form takes apart. */
const OWN_CODE = 'HĐ/2026/0042';
const FIRST_PICTURE_MS = 1500;
/** The beep of the pattern is far louder; silence of a codec is far below. */
const AUDIBLE = 0.01;
const REFUSED_S = 5;
/** The recorder waits longer after each refusal, and tells of the camera with its next heartbeat. */
const BACK_WITHIN_MS = 40_000;

test('a counter is watched live, its interaction found by dossier and played over a gap', async ({
  page,
  request,
}) => {
  await page.goto(`${site.url}/login`);
  await expect(page.locator('form')).toBeVisible();
  await expectAccessible(page);
  await signIn(page, 'handler', '/search');
  await expectAccessible(page);

  await test.step('live, with sound', async () => {
    const waited = await firstPictureMs(page, () => openWall(page));
    console.log(`first live picture, recorder not yet publishing: ${waited} ms`);
    expect(waited).toBeLessThan(FIRST_PICTURE_MS);
    const video = page.locator('article video');
    await expectFrames(video, 50);
    const shown = await mark(video);
    const delay = Date.now() - shown.wall;
    console.log(`age of the live picture: ${Math.round(delay)} ms`);
    expect(delay).toBeLessThan(1500);
    await page.getByRole('button', { name: 'Nghe quầy này' }).click();
    const level = await loudest(video, 3);
    console.log(`live sound level: ${level.toFixed(3)}`);
    expect(level).toBeGreaterThan(AUDIBLE);
    await expectAccessible(page);
  });

  await test.step('events show on the wall', async () => {
    const officer = { officer: 'nv017', officer_name: 'Trần Thị Hoà', procedure: 'Đăng ký khai sinh' };
    await tell(request, 'ticket.called', { ticket: TICKET, waiting: 4 });
    // Clocks of queue systems are coarse: some events bear the same time.
    const recalled = new Date();
    for (let i = 0; i < 2; i++)
      await tell(request, 'ticket.recalled', { ticket: TICKET, waiting: 4 }, recalled);
    await tell(request, 'ticket.serving_started', { ticket: TICKET, ...officer });
    const scanned = new Date();
    await tell(request, 'dossier.scanned', { dossier: CODE, symbology: 'code128' }, scanned);
    await tell(request, 'dossier.scanned', { dossier: OWN_CODE, symbology: 'qr' }, scanned);
    const tile = page.locator('article');
    for (const text of ['A0123', 'Đăng ký khai sinh', 'Trần Thị Hoà', 'chờ 4'])
      await expect(tile.getByText(text).first()).toBeVisible();
  });

  await test.step('a camera that fails is shown to fail, and comes back', async () => {
    await harmCamera(request, { fault: 'refuse', seconds: REFUSED_S });
    await harmCamera(request, { fault: 'drop_connection' });
    const tile = page.locator('article');
    await expect(tile.getByText('Không ghi được hình')).toBeVisible();
    await expect(tile.getByText('Camera mất kết nối')).toBeVisible();
    await expectAccessible(page);
    await expect(tile.getByText('trực tiếp')).toBeVisible({ timeout: BACK_WITHIN_MS });
    await expectFrames(tile.locator('video'), 25);
    await page.getByRole('link', { name: 'Tìm kiếm' }).click();
    await expect(page.locator('video')).toHaveCount(0);
    const waited = await firstPictureMs(page, () => openWall(page));
    console.log(`first live picture, recorder publishing: ${waited} ms`);
    expect(waited).toBeLessThan(FIRST_PICTURE_MS);
    await expectFrames(page.locator('article video'), 200);
    await tell(request, 'ticket.finished', { ticket: TICKET });
    await tell(request, 'rating.given', { ticket: TICKET, score: 2, scale: [0, 2] });
  });

  await test.step('found by its dossier, typed without marks and case', async () => {
    await expect(async () => {
      const { items } = await get<{ items: { coverage: string }[] }>(page, `interactions?dossier=${CODE}`);
      expect(items.map((i) => i.coverage)).toEqual(['partial']);
    }).toPass({ timeout: 60_000, intervals: [500] });
    for (const typed of ['hd/2026/0042', 'tran thi hoa', CODE.toLowerCase()]) {
      await page.keyboard.press('/');
      await page.getByRole('searchbox').fill(typed);
      await page.keyboard.press('Enter');
      await expect(page).toHaveURL(
        new RegExp(`q=${encodeURIComponent(typed).replaceAll('%20', '(%20|\\+)')}`),
      );
      await expect(page.locator('li a .ticket')).toHaveText(['A0123']);
    }
    const still = page.locator('li a img');
    await expect(still).toBeVisible();
    await expect.poll(() => still.evaluate((img: HTMLImageElement) => img.naturalWidth)).toBeGreaterThan(0);
    await expectAccessible(page);
  });

  const interaction = await get<{ items: { interaction_id: string; start: string }[] }>(
    page,
    `interactions?dossier=${CODE}`,
  ).then(({ items }) => items[0]!);
  const video = page.locator('.player video');
  const slider = page.getByRole('slider');

  await test.step('plays from its start, with sound', async () => {
    await page.locator('li a .ticket').click();
    await expect(page).toHaveURL(new RegExp(interaction.interaction_id));
    await expectFrames(video, 25);
    const level = await loudest(video, 3);
    console.log(`archived sound level: ${level.toFixed(3)}`);
    expect(level).toBeGreaterThan(AUDIBLE);
    await page.reload();
    await page.goto(`${site.url}/interactions/${interaction.interaction_id}`);
    const first = await mark(video);
    expect(Math.abs(first.wall - Date.parse(interaction.start))).toBeLessThan(2500);
    await page.keyboard.press('k');
    await expectShownTime(page);
    await expectAccessible(page);
  });

  const gap = await theGap(page, interaction.start);

  await test.step('seeks across the gap and says why it is there', async () => {
    expect(gap.end - gap.start).toBeGreaterThan((REFUSED_S - 1) * 1000);
    await clickMoment(page, (gap.start + gap.end) / 2);
    await expect(page.getByTestId('gap-cause')).toHaveText('Camera mất kết nối');
    await expect(slider).toHaveAttribute('aria-valuetext', /Camera mất kết nối/);
    await expectAccessible(page);
    await page.getByRole('button', { name: /^Phát tiếp từ/ }).click();
    await expect(page.getByTestId('gap-cause')).toBeHidden();
    await expectFrames(video, 25);
    expect((await mark(video)).wall).toBeGreaterThan(gap.end - 150);
  });

  await test.step('playing runs into the gap, names it, and goes on behind it', async () => {
    await clickMoment(page, gap.start - 2000);
    expect((await mark(video)).wall).toBeLessThan(gap.start);
    await expect(page.getByTestId('gap-cause')).toHaveText('Camera mất kết nối');
    await expect(page.getByTestId('gap-cause')).toBeHidden();
    await expectFrames(video, 10);
    expect((await mark(video)).wall).toBeGreaterThan(gap.end - 150);
    await page.keyboard.press('k');
    await expectShownTime(page);
  });

  await test.step('the dossier has the visit', async () => {
    await page.getByRole('link', { name: OWN_CODE, exact: true }).click();
    await expect(page).toHaveURL(`${site.url}/dossiers/${encodeURIComponent(OWN_CODE)}`);
    await expect(page.locator('article')).toHaveCount(1);
    await expect(page.locator('article').getByText('A0123')).toBeVisible();
    await expectAccessible(page);
    await page.goto(`${site.url}/dossiers/${CODE}`);
    await expect(page.locator('article').getByText('A0123')).toBeVisible();
  });
});

test('the administrator sees the recorder at work', async ({ page }) => {
  await signIn(page, 'administrator', '/devices');
  await expect(page.locator('article')).toHaveCount(1);
  await expect(page.locator('article').getByText(`${site.counter}.front.main`)).toBeVisible();
  await expectAccessible(page);
});

async function openWall(page: Page) {
  await page.getByRole('link', { name: 'Trực tiếp' }).click();
}

async function get<T>(page: Page, path: string): Promise<T> {
  const answer = await page.request.get(`${site.url}/api/v1/${path}`);
  expect(answer.ok()).toBe(true);
  return (await answer.json()) as T;
}

/** The one gap since a moment, as the timeline tells it. */
async function theGap(page: Page, since: string): Promise<{ start: number; end: number }> {
  interface Timeline {
    streams: { gaps: { start: string; end: string | null; cause: string | null }[] }[];
  }
  const path = `counters/${site.counter}/timeline?from=${since}&to=${new Date().toISOString()}`;
  const { streams } = await get<Timeline>(page, path);
  const known = streams[0]!.gaps.filter((g) => g.cause !== null);
  expect(known).toMatchObject([{ cause: 'camera_offline' }]);
  return { start: Date.parse(known[0]!.start), end: Date.parse(known[0]!.end ?? '') };
}

/** Clicks a moment of the timeline. */
async function clickMoment(page: Page, moment: number) {
  const slider = page.getByRole('slider');
  const [min, max] = await Promise.all(
    ['aria-valuemin', 'aria-valuemax'].map(async (name) => Number(await slider.getAttribute(name))),
  );
  const box = await slider.boundingBox();
  expect(moment).toBeGreaterThan(min!);
  expect(moment).toBeLessThan(max!);
  await slider.click({ position: { x: ((moment - min!) / (max! - min!)) * box!.width, y: box!.height / 2 } });
}

/** While it stands still, the moment that the page names is the one that the picture names. */
async function expectShownTime(page: Page) {
  await expect(async () => {
    const shown = Number(await page.getByRole('slider').getAttribute('aria-valuenow'));
    const { wall } = await mark(page.locator('.player video'));
    expect(Math.abs(wall - shown)).toBeLessThan(150);
  }).toPass({ timeout: 10_000 });
}
