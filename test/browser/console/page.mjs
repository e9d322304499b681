// Pages as people see them: a visit fails for whatever went wrong on the page.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { browser, env } from './stage.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** The looks in which a screenshot is taken: both widths, both themes, both languages. */
export const looks = [
  { width: 1280, colorScheme: 'light', locale: 'en' },
  { width: 1280, colorScheme: 'dark', locale: 'zh-CN' },
  { width: 390, colorScheme: 'light', locale: 'zh-CN' },
  { width: 390, colorScheme: 'dark', locale: 'en' },
];

/** The looks of a scene: without screenshots, one of each width and language is enough. */
export const seen = env.SHOTS ? looks : [looks[0], looks[2]];

/**
 * Opens a page and acts on it. The page may log no error, ask no other host and keep its
 * policy, but for what is expected. at is the address of the gateway, as the browser knows it.
 */
export async function visit(g, hash, act, { expected = [], options = {}, at = g.http, before = () => {} } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en', reducedMotion: 'reduce', ...options });
  try {
    const page = await context.newPage();
    const problems = watch(page, at);
    await before(page);
    await page.goto(at + (hash ? '/console/' + hash : '/'), { waitUntil: 'domcontentloaded' });
    await act(page);
    assert.deepEqual(problems.filter((p) => !expected.some((e) => e.test(p))), [], 'the page logged errors, asked other hosts or broke its policy');
  } finally {
    await context.close();
  }
}

/** Collects what goes wrong on a page. */
export function watch(page, at) {
  const problems = [];
  page.setDefaultTimeout(15_000);
  page.on('console', (m) => m.type() === 'error' && problems.push(`console: ${m.text()}`));
  page.on('pageerror', (e) => problems.push(`page: ${e.message}`));
  page.on('request', (r) => r.url().startsWith(at) || /^(blob|data):/.test(r.url()) || problems.push(`foreign: ${r.url()}`));
  void page.addInitScript(() => document.addEventListener('securitypolicyviolation', (e) => console.error(`policy: ${e.effectiveDirective} forbids ${e.blockedURI} ${e.sample}`)));
  return problems;
}

/** Logs in with a key on the page that is shown. */
export async function login(page, key) {
  await page.getByLabel('API key').fill(key);
  await page.getByRole('button', { name: 'Log in' }).click();
}

export async function noFindings(page) {
  await page.evaluate(axe); // the policy forbids a script element, and that is right
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ').slice(0, 300)}`), []);
}

/** Fails if anything but what scrolls by itself is wider than the page. */
export async function fits(page, name) {
  const over = await page.evaluate(() => [document.documentElement, document.querySelector('main')].map((e) => e.scrollWidth - e.clientWidth));
  assert.ok(over.every((pixels) => pixels <= 0), `${name} is wider than the page by ${over} pixels`);
}

export async function shot(page, name) {
  if (env.SHOTS) await page.screenshot({ path: join(env.SHOTS, name + '.png') });
}

/** Takes a screenshot of one route in the looks that are seen. ready returns what the page must show first. */
export async function shots(g, hash, name, ready, { expected = [], settle = 400 } = {}) {
  for (const { width, colorScheme, locale } of seen) {
    const options = { viewport: { width, height: 800 }, colorScheme, locale };
    await visit(g, hash, async (page) => {
      await ready(page).waitFor();
      await page.waitForTimeout(settle);
      await shot(page, `${name}-${width}-${colorScheme}-${locale}`);
      await fits(page, name);
    }, { options, expected });
  }
}
