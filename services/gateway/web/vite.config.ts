import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

const gateway = process.env['ROZMOVA_GATEWAY'] ?? 'http://127.0.0.1:8080'

export default defineConfig({
  // Relative addresses and hash routes: the window works under any mount path.
  base: './',
  plugins: [react()],
  define: { __BUILD__: JSON.stringify(process.env['npm_package_version'] ?? '0') },
  build: {
    outDir: '../src/gateway/static',
    emptyOutDir: true,
    target: 'es2022',
    // The strict CSP allows no inlined fonts or scripts; everything is a hashed file.
    assetsInlineLimit: 0,
    // check-size.mjs keeps the budget; this warning knows nothing of it.
    chunkSizeWarningLimit: 800,
    modulePreload: { polyfill: false },
    // The libraries' MIT licence asks for their notice beside the code.
    license: { fileName: 'THIRD_PARTY_LICENSES.md' },
  },
  server: { proxy: { '/api': { target: gateway, ws: true } } },
  test: { include: ['tests/**/*.test.ts'], environment: 'node' },
})
