// A page that stays open: what it says stays true while others act, the reader changes a
// filter, an answer comes late, or none comes.
import assert from 'node:assert/strict';
import { device } from './device.mjs';
import { api, gateway } from './gateway.mjs';
import { visit } from './page.mjs';
import { pause, play, until } from './stage.mjs';

let g;
await play([
  ['a preview of another form', async () => preview((g = await gateway('open')))],
  ['deliveries of a message to many', () => deliveries(g)],
  ['messages far down', () => far(g)],
  ['another filter in a scrolled list', () => filter(g)],
  ['new lines of another filter', () => newer(g)],
  ['frames that are kept no longer', () => trace(g)],
  ['a reading that fails is no writing', () => reading(g)],
  ['simulated devices that stay', () => simulated(g)],
  ['a queue that is empty by now', () => queue(g)],
  ['a gateway that answers nothing', () => silent(g), 90],
]);

async function preview(g) {
  for (let i = 100; i < 400; i++) await api(g, 'POST', '/v1/clients', { id: 'lamp-' + i });
  await visit(g, '#/push', async (page) => {
    let release;
    const held = new Promise((done) => (release = done));
    await page.route('**/v1/messages', async (route) => (await held, route.continue()));
    await page.getByText('A list of ids').click();
    await page.getByRole('textbox', { name: 'A list of ids' }).fill('lamp-100');
    await page.getByRole('button', { name: 'Preview' }).click();
    await page.getByRole('textbox', { name: 'A list of ids' }).fill('lamp-200');
    const answered = page.waitForResponse('**/v1/messages');
    release();
    await answered;
    await pause(300);
    assert.equal(await page.getByText('This would reach').count(), 0, 'the preview is of other ids');
    await page.getByRole('button', { name: 'Preview' }).click();
    await page.getByText('This would reach 1 client.').waitFor();
    assert.equal(await page.getByRole('link', { name: 'lamp-200' }).count(), 1);
  });
}

async function deliveries(g) {
  const { id } = await api(g, 'POST', '/v1/messages', { to: { clients: ['lamp-300', 'lamp-301'] }, text: 'on' });
  await visit(g, '#/messages/' + id, async (page) => {
    const grid = page.getByRole('grid', { name: 'Deliveries' });
    await grid.getByText('queued').nth(1).waitFor();
    await api(g, 'DELETE', '/v1/clients/lamp-301/messages');
    await grid.getByText('canceled').waitFor();
    assert.equal(await grid.getByText('queued').count(), 1);
  });
}

async function far(g) {
  const { id } = await api(g, 'POST', '/v1/clients/lamp-399/messages', { text: 'far' });
  for (let i = 0; i < 150; i++) await api(g, 'POST', `/v1/clients/lamp-${100 + i}/messages`, { text: 'on' });
  await visit(g, '#/messages', async (page) => {
    const grid = page.getByRole('grid');
    await grid.getByRole('link').first().waitFor();
    const row = grid.getByRole('row').filter({ hasText: 'lamp-399' });
    await until('the row is there', () => grid.evaluate((it) => void (it.scrollTop = 150 * 32)).then(() => row.count()));
    await row.getByText('queued').waitFor();
    await api(g, 'DELETE', '/v1/messages/' + id);
    await row.getByText('canceled').waitFor();
  });
}

async function filter(g) {
  const lamp = await device(g, 'lamp-320');
  for (let i = 0; i < 80; i++) await api(g, 'POST', '/v1/clients/lamp-320/messages', { text: 'on ' + i });
  for (let i = 0; i < 80; i++) await api(g, 'DELETE', '/v1/clients/lamp-320/messages');
  await visit(g, '#/events', async (page) => {
    const log = page.getByRole('log');
    await log.locator('li').nth(40).waitFor();
    await log.evaluate((it) => (it.scrollTop = 400));
    await page.mouse.move(5, 5);
    await page.getByLabel('Types').selectOption('client.*');
    await until('only events of clients are shown', () => log.locator('li').evaluateAll((all) => all.length && all.every((each) => !/Canceled|canceled|queued/.test(each.innerText))));
  });
  lamp.end();
}

async function newer(g) {
  await visit(g, '#/messages', async (page) => {
    await page.getByRole('grid').getByRole('link').first().waitFor();
    let release, polled;
    const held = new Promise((done) => (release = done));
    const poll = new Promise((done) => (polled = done));
    await page.route('**/v1/messages?*', async (route) => {
      if (!route.request().url().includes('status=')) {
        polled();
        await held;
      }
      await route.continue();
    });
    await poll;
    await page.getByRole('button', { name: 'expired' }).click();
    await page.getByText('No message matches').waitFor();
    const answered = page.waitForResponse('**/v1/messages?*');
    release();
    await answered;
    await pause(300);
    assert.equal(await page.getByText('new line').count(), 0, 'the new lines are of another filter');
  });
}

async function trace(g) {
  await visit(g, '#/clients/lamp-100', async (page) => {
    await page.getByRole('button', { name: 'Keep every frame' }).waitFor();
    await page.route('**/trace', (route) => route.fulfill({ status: 503, contentType: 'application/problem+json', body: '{"type":"/docs/problems/overloaded","title":"Overloaded","status":503}' }), { times: 1 });
    await page.getByRole('button', { name: 'Keep every frame' }).click();
    await page.getByText('too much to do').waitFor();
    await page.route('**/trace', (route) => route.fulfill({ json: { ends_at: new Date(Date.now() + 4000).toISOString() } }), { times: 1 });
    await page.getByRole('button', { name: 'Keep every frame' }).click();
    await page.getByText('Every frame is kept until').waitFor();
    assert.equal(await page.getByText('too much to do').count(), 0, 'the failure before is still shown');
    await page.getByText('Every frame is kept until').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Keep every frame' }).waitFor();
  }, { expected: [/503/] });
}

async function reading(g) {
  await visit(g, '#/overview', async (page) => {
    await page.getByText('Online now').first().waitFor();
    await page.route('**/v1/events/evt_1', (route) => route.abort());
    await page.goto(g.http + '/console/#/events?id=evt_1');
    await page.getByText('The gateway does not answer').waitFor();
    assert.equal(await page.getByText('Whether it was done').count(), 0, 'a reading is called a writing');
    await page.getByRole('button', { name: 'Try again' }).waitFor();
  }, { expected: [/ERR_FAILED/] });
}

async function simulated() {
  const g = await gateway('simulated');
  await api(g, 'PUT', '/v1/simulator', { count: 1, profile: 'steady' });
  await visit(g, '#/overview', async (page) => {
    await page.route('**/v1/simulator', (route) => (route.request().method() === 'DELETE' ? route.fulfill({ status: 503, contentType: 'application/problem+json', body: '{"type":"/docs/problems/store-unavailable","title":"Store","status":503}' }) : route.continue()));
    const button = page.getByRole('button', { name: 'Remove the simulated' });
    await button.click();
    await page.getByText('The store cannot be written').waitFor();
    assert.ok(await button.evaluate((it) => it === document.activeElement), 'the button lost the focus');
  }, { expected: [/503/] });
}

// The queue that was shown has gone meanwhile: what comes after it stays.
async function queue(g) {
  await api(g, 'POST', '/v1/clients/lamp-330/messages', { text: 'old' });
  await visit(g, '#/clients/lamp-330', async (page) => {
    await page.getByRole('button', { name: 'Cancel all 1' }).click();
    await api(g, 'DELETE', '/v1/clients/lamp-330/messages');
    await page.getByText('0 messages now').waitFor();
    await page.route('**/messages?*status=pending*', (route) => route.abort());
    const { id } = await api(g, 'POST', '/v1/clients/lamp-330/messages', { text: 'new' });
    await page.locator('dialog input').fill('lamp-330');
    await page.locator('dialog button.first').click();
    await page.locator('dialog').waitFor({ state: 'detached' });
    assert.equal((await api(g, 'GET', '/v1/messages/' + id)).status, 'queued', 'a message that was never shown is canceled');
  }, { expected: [/ERR_FAILED/] });
}

async function silent(g) {
  await visit(g, '#/clients', async (page) => {
    await page.getByRole('link', { name: 'lamp-100' }).waitFor();
    await page.route('**/v1/**', (route) => route.abort());
    await page.getByText('What you see is old').waitFor({ timeout: 40_000 });
    await page.unroute('**/v1/**');
    await page.getByText('What you see is old').waitFor({ state: 'detached' });
  }, { expected: [/ERR_FAILED/] });
}
