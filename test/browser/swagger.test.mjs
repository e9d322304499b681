// Opens the API page of a running server in a real browser: every described
// route is listed, a push to a simulated device is executed and shows acked,
// and the page asks no other host and logs no error.
//
// Environment: LONGWIRE_URL of the server; LONGWIRE_DEVICE, the id of a device
// that acks (default demo); CHROMIUM, the browser (default /usr/bin/chromium).
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const server = process.env.LONGWIRE_URL ?? 'http://127.0.0.1:8080';
const device = process.env.LONGWIRE_DEVICE ?? 'demo';
const origin = new URL(server).origin;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  const problems = watch(page);
  await page.goto(`${server}/swagger/`);
  await page.waitForSelector('.opblock');
  await listsEveryRoute(page);
  await pushIsAcked(page);
  assert.deepEqual(problems, [], 'the page logged errors or asked other hosts');
  console.log('ok: every route is listed, a push shows acked, nothing else was asked');
} finally {
  await browser.close();
}

// watch collects console errors, page errors and requests to other hosts.
function watch(page) {
  const problems = [];
  page.on('console', (m) => { if (m.type() === 'error') problems.push(`console: ${m.text()}`); });
  page.on('pageerror', (e) => problems.push(`page: ${e.message}`));
  page.on('request', (r) => {
    const url = new URL(r.url());
    if (url.protocol !== 'data:' && url.protocol !== 'blob:' && url.origin !== origin) problems.push(`request: ${r.url()}`);
  });
  page.on('requestfailed', (r) => problems.push(`failed: ${r.url()} ${r.failure()?.errorText}`));
  return problems;
}

async function listsEveryRoute(page) {
  const spec = await (await fetch(`${server}/openapi.json`)).json();
  const described = Object.entries(spec.paths)
    .flatMap(([path, item]) => Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`)).sort();
  const shown = await page.$$eval('.opblock-summary', (rows) => rows.map((row) => {
    const path = row.querySelector('[data-path]').getAttribute('data-path');
    return `${row.querySelector('.opblock-summary-method').textContent.trim()} ${path}`;
  }));
  assert.ok(described.length >= 20, `only ${described.length} routes are described`);
  assert.deepEqual(shown.sort(), described);
}

// pushIsAcked does what the page tells a newcomer to do.
async function pushIsAcked(page) {
  const block = page.locator('.opblock-post').filter({
    has: page.locator('[data-path="/v1/clients/{id}/messages"]'),
  });
  await block.locator('.opblock-summary-control').click();
  const field = (name) => block.locator(`tr[data-param-name="${name}"]`);
  await field('id').locator('input').fill(device);
  await field('mode').locator('select').selectOption('durable');
  await field('wait').locator('input').fill('5s');
  await block.locator('button.execute').click();
  const live = block.locator('.live-responses-table .response').first();
  await live.waitFor();
  assert.equal((await live.locator('.response-col_status').innerText()).trim().split(/\s/)[0], '200');
  const answer = JSON.parse(await live.locator('.highlight-code pre, .microlight').first().innerText());
  assert.equal(answer.status, 'acked', JSON.stringify(answer));
  assert.equal(answer.client, device);
}
