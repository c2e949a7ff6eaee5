import { defineConfig } from 'vitest/config';

// Apart from vite.config.ts: the pure logic needs no plugin, and the catalogue's watcher would keep the run open.
export default defineConfig({ test: { include: ['src/**/*.test.ts'] } });
