import { paraglideVitePlugin } from '@inlang/paraglide-js';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

/** Where `npm run dev` finds the API, unless `MOCK=1` asks for invented data. */
const server = process.env.MINHQUAY_SERVER ?? 'http://127.0.0.1:8080';

export default defineConfig(async ({ command }) => ({
  plugins: [
    paraglideVitePlugin({
      project: './project.inlang',
      outdir: './src/paraglide',
      strategy: ['localStorage', 'baseLocale'],
    }),
    svelte(),
    ...(command === 'serve' && process.env.MOCK === '1'
      ? [(await import('./e2e/mock/plugin.ts')).mockApi()]
      : []),
  ],
  build: {
    target: 'es2022',
    // Older targets would have light-dark() rewritten into variables that nested dark areas cannot change.
    cssTarget: ['chrome123', 'firefox121', 'safari17.5'],
    // Data URLs for fonts and images would need a looser content security policy.
    assetsInlineLimit: 0,
    // hls.js alone is larger than the default limit; it is loaded only where footage shows.
    chunkSizeWarningLimit: 700,
  },
  server: { proxy: { '/api': { target: server, changeOrigin: false } } },
}));
