// Opens the API page of a running server in a real browser: every described
// route is listed, a push to a simulated device is executed and shows acked,
// and the page asks no other host, breaks no rule of its content security
// policy and logs no error. On a second server, which needs an API key, calls
// are refused until Authorize was given one.
//
// Environment: LONGWIRE_URL of the server; LONGWIRE_DEVICE, the id of a device
// that acks (default demo); LONGWIRE_KEYED_URL of the server that needs a key,
// and LONGWIRE_KEY, one with the scope clients:read; CHROMIUM, the browser
// (default /usr/bin/chromium).
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const { env } = process;
const server = env.LONGWIRE_URL ?? 'http://127.0.0.1:8080';
const device = env.LONGWIRE_DEVICE ?? 'demo';

const browser = await chromium.launch({
  executablePath: env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
  await onPage(server, async (page, problems) => {
    await listsEveryRoute(page);
    await pushIsAcked(page);
    assert.deepEqual(problems, [], 'the page logged errors, asked other hosts or broke its policy');
  });
  await onPage(env.LONGWIRE_KEYED_URL, async (page, problems) => {
    await authorizes(page, env.LONGWIRE_KEY);
    // A browser logs each refused call, of which there were three.
    const refused = problems.filter((p) => /^console: Failed to load resource: .* 401 /.test(p));
    assert.deepEqual(problems, refused, 'the page logged errors, asked other hosts or broke its policy');
    assert.equal(refused.length, 3);
  });
  await policyIsInForce(server);
  console.log('ok: every route is listed, a push shows acked, Authorize lets a key in, nothing else was asked');
} finally {
  await browser.close();
}

// onPage opens a server's API page for one visit, with what is wrong with it.
async function onPage(url, visit) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    const problems = watch(page, new URL(url).origin);
    await page.addInitScript(() => document.addEventListener('securitypolicyviolation',
      (e) => console.error(`policy: ${e.effectiveDirective} forbids ${e.blockedURI}`)));
    await page.goto(`${url}/swagger/`);
    await page.waitForSelector('.opblock');
    await visit(page, problems);
  } finally {
    await context.close();
  }
}

// watch collects console errors, violations of the policy among them, page
// errors and requests to other hosts.
function watch(page, origin) {
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

// operation opens the block of a route.
async function operation(page, method, path) {
  const block = page.locator(`.opblock-${method}`).filter({ has: page.locator(`[data-path="${path}"]`) });
  await block.locator('.opblock-summary-control').click();
  return block;
}

// execute presses the button and returns the answer's status and body.
async function execute(page, block) {
  const answered = page.waitForResponse((r) => new URL(r.url()).pathname.startsWith('/v1/'));
  await block.locator('button.execute').click();
  const status = String((await answered).status());
  const live = block.locator('.live-responses-table .response').first();
  await live.locator('.response-col_status', { hasText: status }).waitFor();
  return { status, body: JSON.parse(await live.locator('.highlight-code pre, .microlight').first().innerText()) };
}

// pushIsAcked does what the page tells a newcomer to do.
async function pushIsAcked(page) {
  const block = await operation(page, 'post', '/v1/clients/{id}/messages');
  const field = (name) => block.locator(`tr[data-param-name="${name}"]`);
  await field('id').locator('input').fill(device);
  await field('mode').locator('select').selectOption('durable');
  assert.equal(await field('wait').locator('input').inputValue(), '5s');
  const { status, body } = await execute(page, block);
  assert.equal(status, '200');
  assert.equal(body.status, 'acked', JSON.stringify(body));
  assert.equal(body.client, device);
}

// authorizes calls without a key, with a wrong one, with a good one, and without
// one again.
async function authorizes(page, key) {
  const block = await operation(page, 'get', '/v1/clients');
  const call = async () => {
    const { status, body } = await execute(page, block);
    return `${status} ${body.type ?? Object.keys(body)}`;
  };
  const refused = '401 /docs/problems/unauthenticated';
  assert.equal(await call(), refused, 'without a key');
  await authorize(page, 'lwk_wrong');
  assert.equal(await call(), refused, 'with a wrong key');
  await logout(page);
  await authorize(page, key);
  assert.equal(await call(), '200 items,now', 'with the key');
  await logout(page);
  assert.equal(await call(), refused, 'after Logout');
}

async function inDialog(page, act) {
  await page.locator('.auth-wrapper .btn.authorize').click();
  const dialog = page.locator('.modal-ux');
  await act(dialog);
  await dialog.locator('.btn-done').click();
  await dialog.waitFor({ state: 'detached' });
}

async function authorize(page, key) {
  await inDialog(page, async (dialog) => {
    await dialog.locator('input').fill(key);
    await dialog.locator('.auth-btn-wrapper .authorize').click();
    await dialog.getByText('Logout').waitFor();
  });
}

async function logout(page) {
  await inDialog(page, (dialog) => dialog.getByText('Logout').click());
}

// policyIsInForce breaks the page's policy in each way that it is there for, so
// that a page without one does not look as good as one that keeps it.
async function policyIsInForce(url) {
  await onPage(url, async (page, problems) => {
    const last = page.waitForEvent('console', (m) => m.text().startsWith('policy: form-action'));
    await page.evaluate(async () => {
      const add = (name, members) => document.body.append(Object.assign(document.createElement(name), members));
      add('script', { textContent: 'window.broken = true' });
      add('img', { src: 'http://127.0.0.2:1/x.png' });
      add('iframe', { src: '/livez' });
      document.head.append(Object.assign(document.createElement('base'), { href: 'http://127.0.0.2:1/' }));
      await fetch('http://127.0.0.2:1/').catch(() => {});
      const form = Object.assign(document.createElement('form'), { action: 'http://127.0.0.2:1/' });
      document.body.append(form);
      form.submit();
    });
    await last;
    assert.equal(await page.evaluate(() => window.broken), undefined, 'an inline script has run');
    const forbidden = new Set(problems.map((p) => /^console: policy: (\S+)/.exec(p)?.[1]).filter(Boolean));
    assert.deepEqual([...forbidden].sort(), ['base-uri', 'connect-src', 'form-action', 'frame-src', 'img-src', 'script-src-elem']);
  });
}
