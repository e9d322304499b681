// Plain HTTP at a name of the network: no secure context, so no clipboard API, no
// crypto.randomUUID, no Secure cookie. Everything works all the same.
import assert from 'node:assert/strict';
import { acks, device } from './device.mjs';
import { api, gateway } from './gateway.mjs';
import { login, visit } from './page.mjs';
import { play } from './stage.mjs';

await play([
  ['open, at a listed host', async () => open(await gateway('open', { flags: ['--http-hosts', 'gateway.test'] }))],
  ['with keys', async () => keyed(await gateway('keyed', { admin: true }))],
]);

async function open(g) {
  await device(g, 'lamp', { handle: acks });
  await visit(g, '#/clients/lamp', async (page) => {
    assert.deepEqual(await page.evaluate(() => [isSecureContext, !!navigator.clipboard, !!crypto.randomUUID]), [false, false, false]);
    await page.locator('#send').fill('on');
    await page.locator('form.send').getByRole('button', { name: 'Copy as curl' }).click();
    await page.getByText('Copied').first().waitFor();
    const copied = await pasted(page);
    assert.match(copied, /^curl .*'http:\/\/gateway\.test:\d+\/v1\/clients\/lamp\/messages/s);

    const sent = page.waitForRequest((r) => r.method() === 'POST');
    await page.locator('#send').press('Enter');
    assert.match((await sent).headers()['idempotency-key'], /^[0-9a-f]{32}$/);
    await page.locator('.answer', { hasText: 'acked' }).waitFor();

    await page.goto(page.url().replace(/#.*/, '#/push'));
    await page.getByLabel('All clients').check();
    await page.locator('textarea').last().fill('to all');
    await page.getByRole('button', { name: 'Preview' }).click();
    const pushed = page.waitForRequest((r) => r.method() === 'POST' && /max_recipients/.test(r.postData()));
    await page.getByRole('button', { name: 'Push to 1 client' }).click();
    assert.match((await pushed).headers()['idempotency-key'], /^[0-9a-f]{32}$/);
    await page.waitForURL(/#\/messages\/msg_/);
  }, { at: `http://gateway.test:${g.port}` });
}

async function keyed(g) {
  await device(g, 'lamp', { handle: acks });
  await visit(g, '', async (page) => {
    await login(page, g.key);
    await page.getByText('Online now').first().waitFor();
    const [cookie] = await page.context().cookies();
    const { instance } = await api(g, 'GET', '/v1/session');
    assert.ok(cookie.name.includes(instance) && cookie.httpOnly && !cookie.secure && cookie.sameSite === 'Strict', JSON.stringify(cookie));

    await page.goto(page.url().replace(/#.*|$/, '#/keys'));
    await page.getByRole('button', { name: 'New key' }).click();
    await page.getByLabel('Name').fill('backend');
    await page.locator('dialog button.first').click();
    await page.getByText('It is shown only once').waitFor();
    const secret = /lwk_\w+/.exec(await page.getByRole('dialog').innerText())[0];
    await page.getByRole('dialog').getByRole('button', { name: 'Copy' }).click(); // behind a modal
    await page.getByText('Copied').first().waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.equal(await pasted(page), secret);

    await page.reload();
    await page.getByRole('heading', { name: 'Keys' }).waitFor(); // the session holds
    await page.locator('details.menu summary').click();
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByLabel('API key').waitFor();
  }, { at: `http://gateway.test:${g.port}`, expected: [/ 401 /] });
}

/** What a paste into the find box gives: a field of one line, so lines become spaces. */
async function pasted(page) {
  await page.locator('#find').focus();
  await page.keyboard.press('Control+V');
  const text = await page.locator('#find').inputValue();
  await page.locator('#find').fill('');
  return text;
}
