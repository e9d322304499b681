// Drives the console of a running gateway in a real browser, as people do: the first
// minute, an ack on the timeline, a rejection, a queue that is canceled, a push to all
// behind a dry run, an unknown id, a tenant's key, a key that is revoked under an open
// page, a gateway that restarts, eight tabs at once. No page logs an error that was not
// asked for, breaks its policy, or asks another host; axe finds nothing.
import assert from 'node:assert/strict';
import { device } from './device.mjs';
import { api, gateway, start, stop } from './gateway.mjs';
import { fits, looks, noFindings, shot, visit } from './page.mjs';
import { browser, play, until } from './stage.mjs';

let open, keyed;
await play([
  ['the first minute', async () => firstRun((open = await gateway('open')))],
  ['a rejection, an offline device, a queue that is canceled', () => commands(open)],
  ['a push to all', () => pushToAll(open)],
  ['unknown ids', () => unknownIds(open)],
  ['hostile text', () => hostileText(open)],
  ['every page in every look', () => everyPage(open), 120],
  ['eight tabs', () => tabs(open)],
  ['a restart', () => restart(open)],
  ['the time before the restart', () => past(open).then(() => stop(open))],
  ['the first key', async () => firstKey(await gateway('first'))],
  ['keys', async () => keys((keyed = await gateway('keyed', { admin: true })))],
  ['a tenant', () => tenant(keyed)],
]);

// The first minute: one button, one Enter, and the ack stands on the timeline within a second.
async function firstRun(g) {
  await visit(g, '', async (page) => {
    await page.waitForURL(/\/console\//);
    await page.getByText('Waiting for the first connection').waitFor();
    await shot(page, 'overview-empty');
    await noFindings(page);
    await page.getByRole('button', { name: 'Start three simulated devices' }).click();
    await page.waitForURL(/#\/clients\/sim-/);
    const box = page.locator('#send');
    await box.waitFor();
    assert.equal(await box.inputValue(), 'hello');
    await page.locator('.live .line').first().waitFor();
    await box.focus();
    await page.keyboard.press('Enter');
    const began = Date.now();
    await page.locator('.live .line', { hasText: /^.*acked/ }).first().waitFor({ timeout: 5000 });
    assert.ok(Date.now() - began < 1500, `the ack took ${Date.now() - began} ms to the timeline`);
    await page.locator('.answer', { hasText: 'acked' }).waitFor();
    await shot(page, 'client-online');
    await noFindings(page);
  });
}

// A rejection, an offline device with its reason, and a queue that is canceled up to what is shown.
async function commands(g) {
  await api(g, 'PUT', '/v1/simulator', { count: 6, profile: 'mixed' });
  await visit(g, '#/clients/sim-rejecting-4', async (page) => {
    await page.locator('#send').fill('open');
    await page.keyboard.press('Enter');
    await page.locator('.answer', { hasText: 'rejected' }).waitFor();
    await page.locator('.answer', { hasText: 'jammed' }).waitFor();
  });
  (await device(g, 'lock-1')).end();
  for (const text of ['one', 'two', 'three']) await api(g, 'POST', '/v1/clients/lock-1/messages', { text });
  await visit(g, '#/clients/lock-1', async (page) => {
    await page.getByText(/^Offline, last heard at/).waitFor();
    await shot(page, 'client-offline');
    await page.getByRole('button', { name: 'Cancel all 3' }).first().click();
    await api(g, 'POST', '/v1/clients/lock-1/messages', { text: 'later' });
    await page.locator('dialog input').fill('lock-1');
    await page.locator('dialog button.first').click();
    await page.locator('dialog').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Cancel all 1' }).waitFor(); // the later one stays
  });
  const body = await api(g, 'GET', '/v1/clients/lock-1/messages');
  assert.deepEqual(body.items.map((m) => m.status).sort(), ['canceled', 'canceled', 'canceled', 'queued']);
}

// To many: a dry run shows the audience, and the push is bound to it.
async function pushToAll(g) {
  await visit(g, '#/push', async (page) => {
    await page.getByLabel('All clients').check();
    await page.locator('textarea').last().fill('to all');
    await page.getByRole('button', { name: 'Preview' }).click();
    const known = (await api(g, 'GET', '/v1/clients?status=all&limit=1000')).items.length;
    await page.getByText(`This would reach ${known} clients.`).waitFor();
    await shot(page, 'push-preview');
    await api(g, 'POST', '/v1/clients', { id: 'late-comer' });
    await page.getByRole('button', { name: `Push to ${known} clients` }).click();
    await page.getByText('There are more recipients now').waitFor(); // 412
    await page.getByRole('button', { name: 'Preview' }).click();
    await page.getByRole('button', { name: `Push to ${known + 1} clients` }).click();
    await page.waitForURL(/#\/messages\/msg_/);
    await page.locator('.bar').first().waitFor();
    await page.waitForTimeout(500);
    await shot(page, 'message-many');
    await noFindings(page);
  }, { expected: [/ 412 /] });
}

async function unknownIds(g) {
  await visit(g, '#/clients/sim-stead', async (page) => {
    await page.getByText('sim-stead was never seen.').waitFor();
    await page.getByRole('link', { name: 'sim-steady-1' }).waitFor();
    await shot(page, 'client-unknown');
    await page.keyboard.press('/');
    await page.keyboard.type('sim-steady-1');
    await page.keyboard.press('Enter');
    await page.waitForURL(/#\/clients\/sim-steady-1/);
  }, { expected: [/ 404 /] });
}

// Markup, scripts and characters that turn text around stay text, however long.
async function hostileText(g) {
  const text = '<img src=x onerror=alert(1)><script>alert(2)</script>\u202Eevil\u2066 \u0000 锁 '.padEnd(200 * 1024, 'x');
  await api(g, 'POST', '/v1/clients', { id: 'odd' });
  await api(g, 'PATCH', '/v1/clients/odd', { labels: { name: '<b>\u202E' } });
  const body = await api(g, 'POST', '/v1/clients/odd/messages', { text });
  await visit(g, '#/messages/' + body.id, async (page) => {
    await page.locator('mark', { hasText: 'U+202E' }).first().waitFor();
    await page.locator('mark', { hasText: 'U+0000' }).first().waitFor();
    const shown = await page.locator('.body').first().innerText();
    assert.ok(shown.includes('<img src=x onerror=alert(1)>') && shown.length < 6000, `${shown.length} characters`);
    assert.equal(await page.locator('main img, main script').count(), 0);
    await page.getByRole('button', { name: /^Show .* more/ }).first().click();
    await shot(page, 'message-bidi');
  });
  await visit(g, '#/clients/odd', async (page) => {
    await page.locator('mark', { hasText: 'U+202E' }).first().waitFor();
  });
}

// Every page in both languages, both themes and both widths, seen by axe once each.
async function everyPage(g) {
  const many = (await api(g, 'GET', '/v1/messages')).items.find((m) => m.counts).id;
  const pages = ['overview', 'clients', 'clients/sim-silent-6', 'messages', 'messages/' + many, 'push', 'uplinks', 'events', 'webhooks', 'refused', 'keys', 'audit'];
  for (const { width, colorScheme, locale } of looks) {
    const options = { viewport: { width, height: 800 }, colorScheme, locale };
    await visit(g, '', async (page) => {
      for (const name of pages) {
        await page.goto(`${g.http}/console/#/${name}`);
        await page.locator('main :is(h1, form, .live, table)').first().waitFor();
        await page.waitForTimeout(400);
        await shot(page, `${name.replace(/\/.*/, '-one')}-${width}-${colorScheme}-${locale}`);
        await noFindings(page);
        await fits(page, name);
        if (locale === 'zh-CN') {
          const words = await page.locator('main h1, main h2, main button, main th').allInnerTexts();
          const english = words.filter((word) => /^[A-Z][a-z]+( [a-z]+)*$/.test(word.trim()) && !/^(Id|Webhook)$/.test(word.trim()));
          assert.deepEqual(english, [], `${name} has English words`);
        }
      }
    }, { options });
  }
}

// Eight tabs over HTTP/1.1: at most three hold a stream, and every one is answered.
async function tabs(g) {
  const context = await browser.newContext();
  try {
    const pages = [];
    for (let i = 0; i < 8; i++) {
      const page = await context.newPage();
      await page.goto(`${g.http}/console/#/events`);
      pages.push(page);
    }
    await pages[0].waitForTimeout(3000);
    for (const page of pages) {
      const began = Date.now();
      await page.evaluate(() => fetch('../v1/session', { cache: 'no-store' }).then((r) => r.text()));
      assert.ok(Date.now() - began < 2000, `a tab waited ${Date.now() - began} ms for an answer`);
    }
    // Tabs that took a stream at the same moment agree within two beats of two seconds.
    let streams = 8;
    for (let i = 0; i < 50 && streams > 3; i++) {
      streams = (await api(g, 'GET', '/v1/stats')).event_streams;
      await pages[0].waitForTimeout(200);
    }
    assert.ok(streams > 0 && streams <= 3, `${streams} streams of eight tabs`);
  } finally {
    await context.close();
  }
}

// The gateway goes away under an open page and comes back: the page says so, and continues.
async function restart(g) {
  const meter = await device(g, 'meter-1');
  for (let i = 1; i <= 250; i++) meter.send('reading ' + i);
  await until('the last reading is stored', async () => (await api(g, 'GET', '/v1/uplinks?client=meter-1&limit=1000')).items.length === 250);
  meter.end();
  await visit(g, '#/clients/lock-1', async (page) => {
    await page.locator('#send').fill('typed before');
    await stop(g);
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await page.getByText('Whether it was done is not known.').waitFor();
    await page.getByText(/reconnecting in|Not answered for/).first().waitFor({ timeout: 20_000 });
    await shot(page, 'connection-lost');
    await start(g);
    await page.getByText(/Not answered for/).waitFor({ state: 'detached', timeout: 30_000 });
    assert.equal(await page.locator('#send').inputValue(), 'typed before');

    // What becomes of a send later is shown beside the box, whoever did it.
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await page.locator('.answer', { hasText: 'queued' }).waitFor();
    const { items } = await api(g, 'GET', '/v1/clients/lock-1/messages');
    await api(g, 'DELETE', '/v1/messages/' + items[0].id);
    await page.locator('.answer', { hasText: 'canceled' }).waitFor();
  }, { expected: [/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|503/] });
}

// The timeline knows what was before the restart from the log of events, and older entries by a button.
async function past(g) {
  await visit(g, '#/clients/meter-1', async (page) => {
    await page.locator('.live .line', { hasText: 'uplink' }).first().waitFor();
    const lines = page.locator('.live .line');
    const before = await lines.count();
    await page.getByRole('button', { name: 'Show older ones' }).click();
    await until('older ones are there', async () => (await lines.count()) > before);
    await page.getByRole('button', { name: 'Show older ones' }).waitFor({ state: 'detached' });
    const times = await lines.locator('time').evaluateAll((all) => all.map((each) => each.dateTime));
    // The order is that of the numbers; the times of two events may differ from it by a moment.
    const late = times.filter((time, i) => i > 0 && Date.parse(time) > Date.parse(times[i - 1]) + 2_000);
    assert.deepEqual(late, [], 'the newest does not come first');
    assert.ok(times.length > 250, `${times.length} lines of 250 uplinks, a connection and its end`);
  });
}

// The first key closes the gateway: the page asks for it.
async function firstKey(g) {
  await visit(g, '#/keys', async (page) => {
    await page.getByRole('button', { name: 'New key' }).click();
    await page.getByLabel('Name').fill('first');
    await page.getByLabel('admin').check();
    await page.locator('dialog button.first').click();
    await page.getByText('It is shown only once').waitFor();
    const key = await page.locator('dialog code').innerText();
    await page.keyboard.press('Escape');
    await page.getByText('The gateway needs a key now').waitFor();
    await page.getByLabel('API key').fill(key);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('cell', { name: 'first' }).first().waitFor();
  }, { expected: [/ 401 /] });
}

// Login, a new key that is shown once, and a key that is revoked while the page is open: what was typed stays.
async function keys(g) {
  await visit(g, '', async (page) => {
    await page.getByLabel('API key').waitFor();
    await shot(page, 'login');
    await noFindings(page);
    await page.getByLabel('API key').fill('lwk_wrong');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('does not know this key').waitFor();
    await page.getByLabel('API key').fill(g.key);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('Waiting for the first connection').waitFor();
    assert.equal(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage, cookie: document.cookie })).then((all) => all.includes('lwk_')), false);

    await page.goto(`${g.http}/console/#/keys`);
    await page.getByRole('button', { name: 'New key' }).click();
    await page.getByLabel('Name').fill('backend');
    await page.locator('dialog button.first').click();
    await page.getByText('It is shown only once').waitFor();
    await shot(page, 'key-new');
  }, { expected: [/ 401 /] });

  const second = (await api(g, 'POST', '/v1/keys', { name: 'short-lived', scopes: ['messages:write', 'clients:read', 'messages:read'] }));
  await visit(g, '#/push', async (page) => {
    await page.getByLabel('API key').fill(second.secret);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.locator('textarea').last().fill('half of a sentence');
    await api(g, 'DELETE', '/v1/keys/' + second.id);
    await page.getByLabel('All clients').check();
    await page.getByRole('button', { name: 'Preview' }).click();
    await page.getByText('Your session has ended').waitFor();
    await page.getByLabel('API key').fill(g.key);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('Your session has ended').waitFor({ state: 'detached' });
    assert.equal(await page.locator('textarea').last().inputValue(), 'half of a sentence');
  }, { expected: [/ 401 /] });
}

// A tenant's key begins at the clients, sees its own alone, and is told which scope a page needs.
async function tenant(g) {
  for (const id of ['acme-1', 'other-1']) await api(g, 'POST', '/v1/clients', { id });
  const body = await api(g, 'POST', '/v1/keys', { name: 'acme', scopes: ['clients:read', 'messages:read'], prefix: 'acme-' });
  await visit(g, '', async (page) => {
    await page.getByLabel('API key').fill(body.secret);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.waitForURL(/#\/clients/);
    await page.getByRole('link', { name: 'acme-1' }).waitFor();
    assert.equal(await page.getByText('other-1').count(), 0);
    await page.goto(`${g.http}/console/#/clients/other-1`);
    await page.getByText('Your key shows no client other-1.').waitFor();
    await page.goto(`${g.http}/console/#/push`);
    await page.getByText('messages:write').waitFor();
    await shot(page, 'forbidden');
  }, { expected: [/ 401 /, / 404 /] });
}
