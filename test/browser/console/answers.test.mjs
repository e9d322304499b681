// What a page says is what the gateway has answered: of an uplink, of a queue that is
// longer than a page, of what is gone, refused or found by its id, of a number that moves
// while it is typed, and of what no page can be narrower for.
import assert from 'node:assert/strict';
import { acks, device } from './device.mjs';
import { api, gateway, start, stop } from './gateway.mjs';
import { fits, noFindings, visit } from './page.mjs';
import { play, until } from './stage.mjs';

let g;
await play([
  ['the payload of an uplink', async () => uplink((g = await gateway('open')))],
  ['a queue longer than a page', () => longQueue(g)],
  ['what is gone', () => gone(g)],
  ['a stream that is refused', () => refused(g)],
  ['more new lines than a page keeps', () => manyLines(g)],
  ['an event and a key by their ids', () => byId(g)],
  ['a field and the address', () => field(g)],
  ['a number that moves while it is typed', () => moving(g), 90],
  ['the width of a phone', () => narrow(g), 120],
  ['the focus of a new page', () => focus(g)],
  ['the first key, and what it stops', () => firstKey(g)],
  ['a gateway that is away when a list begins', () => away(g)],
]);

async function uplink(g) {
  const meter = await device(g, 'meter-1');
  const long = 'reading '.repeat(20) + 'and its end';
  meter.send(long);
  await until('it is stored', async () => (await api(g, 'GET', '/v1/uplinks?client=meter-1')).items.length === 1);
  await visit(g, '#/uplinks?client=meter-1', async (page) => {
    await page.getByRole('button', { name: 'reading' }).click();
    await page.getByRole('dialog').getByText('and its end').waitFor();
    assert.equal(await page.getByText('Empty payload').count(), 0);
  });
}

async function longQueue(g) {
  await api(g, 'POST', '/v1/clients', { id: 'away' });
  for (let i = 0; i < 130; i++) await api(g, 'POST', '/v1/clients/away/messages', { text: 'm' + i });
  await visit(g, '#/clients/away', async (page) => {
    const cancel = page.getByRole('button', { name: /^Cancel all \d/ }).first();
    await cancel.waitFor();
    const said = Number(/\d+/.exec(await cancel.innerText())[0]);
    await cancel.click();
    await page.getByRole('dialog').getByRole('textbox').fill('away');
    await page.locator('dialog button.first').click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    const { items } = await api(g, 'GET', '/v1/clients/away/messages?status=canceled&limit=1000');
    assert.equal(said, items.length, 'more were canceled than the button said');
  });
}

async function gone(g) {
  await api(g, 'POST', '/v1/clients', { id: 'gone-1' });
  await visit(g, '#/clients/gone-1', async (page) => {
    await page.getByText('It has never connected').waitFor();
    await api(g, 'DELETE', '/v1/clients/gone-1?forget=true');
    await page.getByText('It was forgotten at').waitFor();
    assert.equal(await page.getByText('Not answered for').count(), 0, 'says that the gateway does not answer, and it does');
    assert.equal(await page.locator('#send').count(), 0);
  }, { expected: [/ 404 /] });
}

// A list that could not be read is not called empty, and one fault is said once.
async function refused(g) {
  await visit(g, '#/events?client=a%20b', async (page) => {
    await page.getByText('is not a client id').first().waitFor();
    assert.equal(await page.getByText('is not a client id').count(), 1);
    assert.equal(await page.getByText('No event').count(), 0);
  }, { expected: [/ 400 /] });
  await api(g, 'POST', '/v1/clients', { id: 'quiet-1' });
  const before = (page) => page.route(/\/(events|timeline)\?/, (route) => (route.request().url().includes('/events') ? route.fulfill({ status: 502 }) : undefined));
  await visit(g, '#/events', async (page) => {
    await page.getByText('reconnecting').waitFor();
    assert.equal(await page.getByText('No event').count(), 0, 'calls what it could not read empty');
    await page.unroute(/\/(events|timeline)\?/);
    await page.getByRole('button', { name: 'live' }).waitFor();
    await page.evaluate(() => (location.hash = '#/events?client=quiet-2'));
    await page.getByText('No event in the last hour').waitFor();
  }, { expected: [/ 502 /], before });
  await visit(g, '#/clients/quiet-1', async (page) => {
    await page.locator('.why').waitFor();
    assert.equal(await page.getByText('Nothing is on record').count(), 0, 'calls what has not come empty');
  }, { before });
}

// Under the pointer nothing moves, and the page still says how much is new.
async function manyLines(g) {
  const meter = await device(g, 'meter-2');
  await visit(g, '#/events', async (page) => {
    await page.getByRole('button', { name: 'live' }).waitFor();
    await page.locator('.live li').first().hover();
    for (let i = 0; i < 700; i++) {
      meter.send('reading ' + i);
      if (i % 50 === 0) await new Promise((done) => setTimeout(done, 100)); // as fast as a page paints
    }
    await until('they are stored', async () => (await api(g, 'GET', '/v1/uplinks?client=meter-2&limit=1000')).items.length === 700);
    const newer = page.getByRole('button', { name: /new line/ });
    await until('the page says that more than it keeps is new', async () => /^500 /.test(await newer.innerText({ timeout: 5000 })));
    await newer.click();
    await page.getByText('reading 699').waitFor();
  });
}

async function byId(g) {
  await api(g, 'PUT', '/v1/consumers/all', { start: 'earliest' });
  const { items } = await api(g, 'GET', '/v1/consumers/all/events');
  const event = items.find((each) => each.type === 'client.connected');
  await visit(g, '', async (page) => {
    const find = async (word) => {
      await page.locator('#find').fill(word);
      await page.keyboard.press('Enter');
    };
    await find(event.id);
    await page.locator('.live li').waitFor();
    assert.equal(await page.locator('.live li').count(), 1, 'shows other events than the one that was asked for');
    await page.locator('.live li', { hasText: event.subject }).waitFor();
    await page.getByRole('button', { name: event.id }).click();
    await page.locator('.live li').nth(1).waitFor();
    await find('evt_0');
    await page.getByRole('alert').waitFor();
  }, { expected: [/ 40[04] /] });
}

// The field of a filter shows the filter, also when the address has changed it.
async function field(g) {
  await visit(g, '#/clients?prefix=met', async (page) => {
    const prefix = page.getByLabel('Id begins with');
    await page.getByRole('link', { name: 'meter-1' }).waitFor();
    await page.locator('#find').fill('aw*');
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name: 'away' }).waitFor();
    assert.equal(await prefix.inputValue(), 'aw');
    await page.goBack();
    await page.getByRole('link', { name: 'meter-1' }).waitFor();
    assert.equal(await prefix.inputValue(), 'met');
  });
}

async function moving(g) {
  for (let i = 0; i < 120; i++) await api(g, 'POST', '/v1/clients', { id: 'fleet.' + i });
  const { id } = await api(g, 'POST', '/v1/messages', { to: { clients: Array.from({ length: 120 }, (_, i) => 'fleet.' + i) }, text: 'go' });
  await visit(g, '#/messages/' + id, async (page) => {
    await page.getByRole('button', { name: 'Cancel the rest' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox').fill('120');
    await device(g, 'fleet.7', { handle: acks });
    await dialog.getByText('119 deliveries').waitFor();
    await page.locator('dialog button.first').click({ timeout: 2000 });
    await dialog.waitFor({ state: 'detached' });
    assert.equal((await api(g, 'GET', '/v1/messages/' + id)).counts.canceled, 119);
  });
}

async function narrow(g) {
  const id = 'i'.repeat(128);
  await device(g, id, { handle: acks });
  await api(g, 'PATCH', '/v1/clients/' + id, { labels: { ['l'.repeat(60)]: 'שלום مرحبا '.repeat(5) }, groups: ['g'.repeat(64)] });
  const message = await api(g, 'POST', `/v1/clients/${id}/messages?wait=2s`, { text: 'W'.repeat(3000), metadata: { ['m'.repeat(60)]: 'v'.repeat(200) } });
  const shown = { [`clients/${id}`]: '.why', [`clients/${id.slice(1)}x`]: 'main li', [`messages/${message.id}`]: '.payload' };
  for (const [hash, ready] of Object.entries(shown)) {
    await visit(g, '#/' + hash, async (page) => {
      await page.locator(ready).first().waitFor();
      await fits(page, hash);
      const actions = page.locator('.actions');
      if (await actions.count()) {
        const [sentence, buttons] = [await page.locator('.why').boundingBox(), await actions.boundingBox()];
        assert.ok(sentence.y < buttons.y, 'the sentence comes behind the buttons');
      }
    }, { expected: [/ 404 /], options: { viewport: { width: 320, height: 640 } } });
  }
}

// A keyboard goes on at the page that it has opened, and a colour that warns can be read.
async function focus(g) {
  await visit(g, '#/clients?prefix=met', async (page) => {
    await page.getByRole('link', { name: 'meter-1' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1 }).waitFor();
    await until('the new page has the focus', () => page.evaluate(() => document.activeElement.id === 'main'));
    await page.route('**/v1/**', (route) => route.abort());
    await page.getByText('Not answered for').first().waitFor();
    await noFindings(page);
  }, { expected: [/ERR_FAILED/] });
}

async function firstKey(g) {
  await api(g, 'POST', '/v1/webhooks', { url: 'http://127.0.0.1:9/in' });
  await visit(g, '#/keys', async (page) => {
    await page.getByRole('button', { name: 'New key' }).click();
    await page.getByLabel('Name').fill('first');
    await page.getByLabel('admin').check();
    await page.locator('dialog button.first').click();
    await page.getByRole('dialog').getByText('webhooks.allow_networks').waitFor();
    g.key = (await page.locator('dialog code').innerText()).trim();
    await page.waitForResponse((response) => response.status() === 401); // the gateway wants a key by now
    await page.getByText(g.key).click({ trial: true }); // nothing lies over it
    await page.keyboard.press('Escape');
    await page.getByText('The gateway needs a key now').waitFor();
  }, { expected: [/ 401 /] });
}

// "The page tries again", it says, and so it does.
async function away(g) {
  await visit(g, '#/messages', async (page) => {
    await page.getByLabel('API key').fill(g.key);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('grid').waitFor();
    await page.getByRole('link', { name: 'Clients', exact: true }).click();
    await page.getByRole('link', { name: 'away' }).waitFor();
    await stop(g);
    await page.getByRole('link', { name: 'Messages', exact: true }).click();
    await page.getByText('The page tries again').waitFor();
    await start(g);
    await page.getByRole('grid').getByRole('link').first().waitFor();
  }, { expected: [/ 401 /, /ERR_/] });
}
