import { beforeEach, expect, test, vi } from 'vitest'

// What a browser has, as far as the page asks it.
beforeEach(() => {
  vi.resetModules()
  vi.stubGlobal('location', { origin: 'http://h', pathname: '/console/' })
  vi.stubGlobal('document', { visibilityState: 'hidden', addEventListener: () => {}, documentElement: { dataset: {} } })
  vi.stubGlobal('addEventListener', () => {})
  vi.stubGlobal('navigator', { language: 'en' })
  vi.stubGlobal('fetch', async () => Response.json({ scopes: [] }))
  vi.doUnmock('../src/sentences/zh.ts')
})

test('the language is the last one chosen, whichever comes last', async () => {
  const { app } = await import('../src/lib/app.svelte.ts')
  const slow = app.speak('zh', false)
  await app.speak('en', false)
  await slow
  expect(app.language).toBe('en')
})

test('a page whose Chinese does not come speaks English, and asks who reads it', async () => {
  vi.stubGlobal('navigator', { language: 'zh-CN' })
  vi.doMock('../src/sentences/zh.ts', () => Promise.reject(new Error('no answer')))
  const { app } = await import('../src/lib/app.svelte.ts')
  await app.start().catch(() => {})
  expect([app.language, app.who]).toEqual(['en', { scopes: [] }])
})
