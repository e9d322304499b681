// Sessions: the login lies over an open dialog and has the focus, every tab knows who the
// reader is now, and nobody is told that they are logged out while they are not.
import assert from 'node:assert/strict';
import { device } from './device.mjs';
import { api, gateway } from './gateway.mjs';
import { login, noFindings, visit } from './page.mjs';
import { play } from './stage.mjs';

const expected = [/ 40[13] /, /ERR_FAILED/];
let g;
await play([
  ['a session that ends under a dialog', async () => under((g = await gateway('keyed', { admin: true })))],
  ['a stream that goes on with another key', () => stream(g)],
  ['two tabs', () => tabs(g)],
  ['a log-out that fails', () => logout(g)],
  ['keys that are none, and a browser without cookies', () => wrong(g)],
]);

async function under(g) {
  const brief = await api(g, 'POST', '/v1/keys', { name: 'brief', scopes: ['admin'] });
  await visit(g, '#/keys', async (page) => {
    await login(page, brief.secret);
    await page.getByRole('button', { name: 'New key' }).click();
    const name = page.getByRole('dialog').getByLabel('Name');
    await name.fill('half a na');
    await api(g, 'DELETE', '/v1/keys/' + brief.id);
    await page.getByText('Your session has ended').waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.name), 'key', 'the login has no focus');
    await noFindings(page);
    for (let i = 0; i < 3; i++) await page.keyboard.press('Escape'); // it is not shut
    await login(page, g.key);
    await page.getByText('Your session has ended').waitFor({ state: 'detached' });
    assert.equal(await name.inputValue(), 'half a na');
    await page.keyboard.type('me'); // the focus is where it was
    assert.equal(await name.inputValue(), 'half a name');
  }, { expected });
}

async function stream(g) {
  const meter = await device(g, 'meter');
  const brief = await api(g, 'POST', '/v1/keys', { name: 'brief', scopes: ['admin'] });
  await visit(g, '#/clients/meter', async (page) => {
    await login(page, brief.secret);
    await page.getByRole('button', { name: 'live' }).waitFor();
    const refused = page.waitForResponse((response) => response.url().includes('follow=true') && response.status() === 401);
    await api(g, 'DELETE', '/v1/keys/' + brief.id);
    await refused;
    await login(page, g.key);
    await page.getByRole('button', { name: 'live' }).waitFor();
    await page.mouse.move(1, 1); // under the pointer nothing moves
    meter.send('21.5');
    await page.locator('.live li', { hasText: '↑' }).first().waitFor();
    assert.equal(await page.getByRole('alert').count(), 0);
  }, { expected });
}

async function tabs(g) {
  const acme = await api(g, 'POST', '/v1/keys', { name: 'acme', scopes: ['clients:read'], prefix: 'acme.' });
  await visit(g, '#/clients', async (one) => {
    await login(one, g.key);
    await one.getByRole('link', { name: 'Keys' }).waitFor();
    const two = await one.context().newPage();
    await two.goto(g.http + '/console/#/clients');
    await two.locator('summary').click();
    await two.getByRole('button', { name: 'Log out' }).click();
    await two.getByLabel('API key').waitFor();
    await one.getByText('Your session has ended').waitFor();
    await login(two, acme.secret);
    await one.getByText('Your session has ended').waitFor({ state: 'detached' });
    await one.getByRole('link', { name: 'Keys' }).waitFor({ state: 'detached' }); // this key has no such page
    await one.locator('summary').click();
    await one.getByText('acme · clients:read').waitFor();
  }, { expected });
}

async function logout(g) {
  await visit(g, '#/clients', async (page) => {
    await login(page, g.key);
    await page.locator('summary').click();
    let down = true;
    await page.route('**/v1/session', (route) => (down && route.request().method() === 'DELETE' ? route.abort() : route.continue()));
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByText('The gateway did not answer.').waitFor();
    assert.equal(await page.getByLabel('API key').count(), 0, 'says that the session is over, and it is not');
    down = false;
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByLabel('API key').waitFor();
    await page.reload();
    await page.getByLabel('API key').waitFor();
  }, { expected });
}

async function wrong(g) {
  await visit(g, '#/clients', async (page) => {
    await page.getByText('docker compose exec longwire /longwire keys create').waitFor(); // the image has no PATH to it
    for (const key of ['ｌｗｋ＿ａｂｃ', 'schlüssel', 'a\u200bb', 'lwk_none']) {
      await page.getByText('does not know this key').waitFor({ state: 'detached' });
      await login(page, key);
      await page.getByText('does not know this key').waitFor();
      await page.reload();
    }
    await page.route('**/v1/session', async (route) => {
      const response = await route.fetch();
      await page.context().clearCookies();
      const { 'set-cookie': _, ...headers } = response.headers();
      await route.fulfill({ response, headers });
    });
    await login(page, g.key);
    await page.getByText('does not keep the cookie').waitFor();
  }, { expected });
}
