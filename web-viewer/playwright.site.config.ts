import { defineConfig } from '@playwright/test';

/** The page on the real programs; the whole-system tests start them and say where they are (see `e2e-site/site.ts`). */
export default defineConfig({
  testDir: 'e2e-site',
  timeout: 180_000,
  expect: { timeout: 20_000 },
  workers: 1,
  reporter: 'list',
  outputDir: process.env.MINHQUAY_RESULTS ?? 'test-results',
  use: {
    locale: 'vi-VN',
    viewport: { width: 1440, height: 900 },
    trace: 'off',
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic'],
      // What is muted is not measured either.
      ignoreDefaultArgs: ['--mute-audio'],
    },
  },
});
