// A slow way to the gateway: pages show what comes late, a secret is shown beside the name
// that it belongs to, nothing pulls back a reader who has gone on, and a button keeps the
// focus while its answer is on the way.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { device } from './device.mjs';
import { api, gateway } from './gateway.mjs';
import { login, noFindings, visit } from './page.mjs';
import { pause, play, work } from './stage.mjs';

let g;
await play([
  ['answers later than the next question', async () => late((g = await gateway('open')))],
  ['answers that do not come', () => never(g), 90],
  ['the focus of a button', () => focus(g)],
  ['a failure that is over', () => over(g)],
  ['a reader who has gone on', () => gone(g)],
  ['a token that comes late', async () => token(await listed())],
  ['a key that comes late', async () => key((g = await gateway('keyed', { admin: true })))],
  ['a secret that comes to a reader who has left', () => left(g)],
]);

/** Holds the calls of a page that match until the returned function is called. */
async function hold(page, matches) {
  let release;
  const held = new Promise((done) => (release = done));
  await page.route('**/v1/**', async (route) => {
    if (matches(route.request())) await held;
    await route.continue().catch(() => {}); // the page may have given it up
  });
  return release;
}

// A page that asks every two seconds gives no question up for the next one.
async function late(g) {
  await api(g, 'POST', '/v1/clients', { id: 'lamp' });
  await visit(g, '#/audit', async (page) => {
    await page.route('**/v1/**', async (route) => {
      await pause(2500);
      await route.continue().catch(() => {});
    });
    await page.goto(`${g.http}/console/#/clients/lamp`);
    await page.getByText('It has never connected').waitFor();
    await page.goto(`${g.http}/console/#/overview`);
    await page.getByText('Online now').first().waitFor();
  });
}

// No page piles questions up: the way may come back after an hour.
async function never(g) {
  await api(g, 'POST', '/v1/clients/lamp/messages', { text: 'on' });
  for (const [hash, path] of [['#/messages', '/v1/messages'], ['#/uplinks', '/v1/uplinks'], ['#/clients', '/v1/clients'], ['#/webhooks', '/v1/webhooks']]) {
    await visit(g, hash, async (page) => {
      await page.getByRole('heading', { level: 1 }).waitFor();
      await page.waitForLoadState('networkidle');
      let asked = 0;
      await page.route('**/v1/**', (route) => (asked += new URL(route.request().url()).pathname === path ? 1 : 0));
      await pause(11_000);
      assert.equal(asked, 1, `${hash} asks again before it has an answer`);
    });
  }
}

async function focus(g) {
  await visit(g, '#/clients/lamp', async (page) => {
    const release = await hold(page, (request) => request.method() === 'POST');
    await page.locator('#send').fill('on');
    const send = page.getByRole('button', { name: 'Send', exact: true });
    await send.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Sending' }).waitFor();
    assert.match(await page.evaluate(() => document.activeElement.innerText), /^Sending/);
    release();
    await page.locator('.answer').waitFor();
    const block = page.getByRole('button', { name: 'Block for 10 min' });
    await block.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Lift the block' }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.innerText), 'Lift the block');
    await page.keyboard.press('Enter');
    await block.waitFor();
  });
}

// What failed once says so, also when the gateway answers again, and goes with the next act.
async function over(g) {
  await visit(g, '#/clients/lamp', async (page) => {
    const block = page.getByRole('button', { name: 'Block for 10 min' });
    await block.waitFor();
    let cut = true;
    await page.route(/\/v1\/clients\/lamp\?block=/, (route) => (cut ? route.abort() : route.continue()));
    await block.click();
    const failed = page.locator('.failed');
    await failed.waitFor();
    cut = false;
    assert.match(await failed.innerText(), /^The gateway did not answer\./, 'it answers the other questions');
    await page.getByRole('button', { name: 'Probe' }).click();
    await page.getByText('It is offline.').waitFor();
    assert.equal(await failed.count(), 0, 'the failure of the block stands beside the answer to the probe');
  }, { expected: [/ERR_FAILED/] });
}

async function gone(g) {
  await visit(g, '#/push?client=lamp', async (page) => {
    const release = await hold(page, (request) => request.method() === 'POST');
    await page.getByLabel('Payload').last().fill('on');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByRole('link', { name: 'Clients' }).click();
    const answered = page.waitForResponse((response) => response.request().method() === 'POST');
    release();
    await answered;
    await page.getByRole('link', { name: 'lamp' }).waitFor();
    await pause(300);
    assert.match(page.url(), /#\/clients/, 'the answer to a push has pulled the reader back');
  });
}

async function listed() {
  const tokens = join(work, 'tokens');
  writeFileSync(tokens, '', { mode: 0o600 });
  return gateway('listed', { flags: ['--auth-device-unknown', 'listed', '--auth-device-tokens-file', tokens] });
}

async function token(g) {
  for (const id of ['lock-1', 'lock-2']) await device(g, id);
  await visit(g, '#/refused', async (page) => {
    const give = (id) => page.getByRole('row').filter({ hasText: id }).getByRole('button', { name: 'Give it a token' });
    const release = await hold(page, (request) => request.method() === 'POST');
    await give('lock-1').click();
    await page.keyboard.press('Escape');
    await give('lock-2').dispatchEvent('click');
    release();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('It is shown only once').waitFor();
    const [title, secret] = [await dialog.getByRole('heading').innerText(), (await dialog.locator('code').innerText()).trim()];
    assert.ok((await device(g, title, { token: secret })).registered, `the token under the name ${title} is another device's`);
  });
}

async function key(g) {
  await visit(g, '#/keys', async (page) => {
    await login(page, g.key);
    const release = await hold(page, (request) => request.method() === 'POST');
    await page.getByRole('button', { name: 'New key' }).click();
    await page.getByLabel('Name').fill('late');
    await page.locator('dialog button.first').click();
    await page.keyboard.press('Escape');
    release();
    await page.getByRole('dialog').getByText('It is shown only once').waitFor();
  }, { expected: [/ 401 /] });
}

// The secret of a webhook comes to a reader who has left, stays over each page, and the browser asks before it goes.
async function left(g) {
  await visit(g, '#/webhooks', async (page) => {
    await login(page, g.key);
    const asked = [];
    page.on('dialog', (dialog) => (asked.push(dialog.type()), dialog.dismiss()));
    const release = await hold(page, (request) => request.method() === 'POST');
    await page.getByRole('button', { name: 'New webhook' }).click();
    await page.getByLabel('URL').fill('http://127.0.0.1:9/' + 'long'.repeat(60));
    await page.locator('dialog button.first').click();
    await page.evaluate(() => (location.hash = '#/clients'));
    await page.getByRole('heading', { name: 'Clients' }).waitFor();
    const leave = () => page.evaluate(() => location.reload());
    await leave();
    assert.deepEqual(asked, ['beforeunload'], 'leaves while the secret is made');
    release();
    const secret = page.getByRole('dialog').getByText(/^whsec_/);
    await secret.waitFor();
    await noFindings(page);
    await page.evaluate(() => (location.hash = '#/messages'));
    await page.locator('h1', { hasText: 'Messages' }).waitFor();
    await secret.waitFor();
    await leave();
    assert.equal(asked.length, 2, 'leaves while the secret is shown');
    await page.keyboard.press('Escape');
    await secret.waitFor({ state: 'detached' });
    await page.reload();
    assert.equal(asked.length, 2);
  }, { expected: [/ 401 /] });
}
