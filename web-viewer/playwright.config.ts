import { defineConfig } from '@playwright/test';

const PORT = 5190;

/** The built page alone, over invented data; the tests of the whole system run it on the real server. */
export default defineConfig({
  testDir: 'e2e',
  timeout: 60_000,
  workers: 1,
  reporter: 'list',
  use: {
    baseURL: `http://localhost:${PORT}`,
    trace: 'off',
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--autoplay-policy=no-user-gesture-required'],
    },
  },
  webServer: {
    command: `npm run build && npx vite preview --port ${PORT} --strictPort`,
    env: { MOCK: '1' },
    url: `http://localhost:${PORT}`,
    timeout: 120_000,
  },
});
