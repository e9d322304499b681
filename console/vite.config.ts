import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vite'

// The gateway that `npm run dev` talks to.
const gateway = process.env.LONGWIRE ?? 'http://127.0.0.1:8080'

export default defineConfig({
  base: './', // any path may be the mount point
  plugins: [svelte({ compilerOptions: { css: 'external', runes: true, discloseVersion: false } })],
  build: {
    target: 'es2023',
    assetsInlineLimit: 0, // the page's policy has no data: URLs
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    sourcemap: false,
    // The small parts that the overview shares with other pages are one file: it packs better than seven.
    rolldownOptions: {
      output: {
        codeSplitting: {
          includeDependenciesRecursively: false,
          groups: [{ name: 'shared', test: /(Id|Glyph|Forbidden|State|Curl)\.svelte|(voice|fill|load\.svelte)\.ts/, minShareCount: 2 }],
        },
      },
    },
  },
  server: {
    proxy: { '^/(v1|version|readyz)': { target: gateway, changeOrigin: true } },
  },
})
