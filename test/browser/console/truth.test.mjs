// What a page may not do behind its reader's back: change the address of another page, undo
// what others did, cancel what came later, ask without need, or say what nobody has said.
import assert from 'node:assert/strict';
import { api, gateway, start, stop } from './gateway.mjs';
import { visit } from './page.mjs';
import { pause, play, until } from './stage.mjs';

let g;
await play([
  ['the address after a scroll', async () => address((g = await gateway('open')))],
  ['what is called simulated', () => simulated(g)],
  ['labels that others change', () => labels(g)],
  ['a queue that grows under a question', () => queue(g)],
  ['a message to one', () => message(g)],
  ['an audience that grows under a question', () => audience(g), 90],
  ['keys over a dialog', () => keys(g)],
  ['a gateway that cannot say who asks', () => busy(g)],
  ['a trace that has ended', () => trace(g)],
  ['a gateway of a later version', () => later(g)],
]);

async function address(g) {
  for (let i = 0; i < 150; i++) await api(g, 'POST', '/v1/clients', { id: 'row.' + String(i).padStart(3, '0') });
  await visit(g, '#/clients', async (page) => {
    await page.getByRole('link', { name: 'row.000' }).waitFor();
    await page.evaluate(() => {
      document.querySelector('.box').scrollTop = 640;
      setTimeout(() => (location.hash = '#/clients/row.003'), 50);
    });
    await page.locator('.why').waitFor();
    await pause(600);
    assert.match(page.url(), /#\/clients\/row\.003$/, 'the address is that of another page');
  });
}

async function simulated(g) {
  await api(g, 'POST', '/v1/clients', { id: 'sim-8986' });
  await visit(g, '#/clients?prefix=sim-', async (page) => {
    const row = page.getByRole('row').filter({ hasText: 'sim-8986' });
    await row.waitFor();
    assert.equal(await row.getByText('simulated').count(), 0, 'calls a real device simulated');
  });
}

async function labels(g) {
  await api(g, 'PATCH', '/v1/clients/row.000', { labels: { site: 'south' } });
  await visit(g, '#/clients/row.000', async (page) => {
    await page.getByRole('button', { name: 'Change labels and groups' }).click();
    await api(g, 'PATCH', '/v1/clients/row.000', { labels: { owner: 'ann' } });
    await page.locator('dt + dd a', { hasText: 'owner=ann' }).waitFor({ state: 'attached' });
    await page.getByLabel('Value').first().fill('north');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('link', { name: 'site=north' }).waitFor();
    assert.deepEqual((await api(g, 'GET', '/v1/clients/row.000')).labels, { owner: 'ann', site: 'north' });
    await page.getByRole('button', { name: 'Undo the change' }).click();
    await page.getByRole('link', { name: 'site=south' }).waitFor();
    assert.deepEqual((await api(g, 'GET', '/v1/clients/row.000')).labels, { owner: 'ann', site: 'south' });
  });
}

async function queue(g) {
  const path = '/v1/clients/row.001/messages';
  await api(g, 'POST', path, { text: 'first' });
  await visit(g, '#/clients/row.001', async (page) => {
    await page.getByRole('button', { name: 'Cancel all 1' }).click();
    const later = await api(g, 'POST', path, { text: 'later' });
    await page.locator('ul.rows', { hasText: 'later' }).first().waitFor({ state: 'attached' });
    await page.waitForResponse((response) => response.url().includes('status=pending'));
    await page.getByRole('dialog').getByRole('textbox').fill('row.001');
    await page.locator('dialog button.first').click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.equal((await api(g, 'GET', '/v1/messages/' + later.id)).status, 'queued', 'what came after the question was canceled');
  });
}

// What happened to it is asked for again when it has changed, and not each two seconds.
async function message(g) {
  const { id } = await api(g, 'POST', '/v1/clients/row.002/messages', { text: 'on' });
  await visit(g, '#/messages/' + id, async (page) => {
    await page.getByRole('heading', { name: 'History' }).waitFor();
    let asked = 0;
    page.on('request', (request) => (asked += request.url().includes('/deliveries/') ? 1 : 0));
    await pause(5000);
    assert.equal(asked, 0);
    await api(g, 'DELETE', '/v1/messages/' + id);
    await until('it is asked for again', () => asked === 1);
  });
}

async function audience(g) {
  await visit(g, '#/push', async (page) => {
    await page.getByLabel('All clients').check();
    await page.getByRole('button', { name: 'Preview' }).click();
    await page.getByRole('button', { name: /^Push to/ }).click();
    const dialog = page.getByRole('dialog');
    const [known] = (await dialog.getByText(/^Type \d+/).innerText()).match(/\d+/);
    await dialog.getByRole('textbox').fill(known);
    await api(g, 'POST', '/v1/clients', { id: 'one-more' });
    await page.locator('dialog button.first').click();
    await page.getByText('There are more recipients now').waitFor();
    await page.getByRole('button', { name: 'Preview' }).click();
    await page.getByRole('button', { name: `Push to ${Number(known) + 1} clients` }).waitFor();
    assert.equal(await dialog.count(), 0);
  }, { expected: [/ 412 /] });
}

async function keys(g) {
  await visit(g, '#/clients/row.001', async (page) => {
    await page.getByRole('button', { name: 'Forget' }).click();
    await page.getByRole('dialog').getByRole('textbox').fill('row');
    await page.getByRole('dialog').getByText('The gateway forgets').click();
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press('n');
    await pause(300);
    assert.equal(await page.getByRole('dialog').getByRole('textbox').inputValue(), 'row', 'a letter has left the page of the dialog');
  });
}

// The login would say that a key is wanted. Nobody has said so.
async function busy(g) {
  let away = true;
  await visit(g, '#/clients', async (page) => {
    await page.getByText('HTTP 502').waitFor();
    assert.equal(await page.getByLabel('API key').count(), 0);
    away = false;
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByRole('link', { name: 'row.000' }).waitFor();
  }, { expected: [/ 502 /], before: (page) => page.route('**/v1/session', (route) => (away ? route.fulfill({ status: 502, body: 'Bad Gateway' }) : route.continue())) });
}

async function trace(g) {
  let told = false;
  await visit(g, '#/clients/row.003', async (page) => {
    await until('the page knows of the trace', () => told);
    await pause(500);
    await page.getByRole('button', { name: 'Keep every frame' }).waitFor({ timeout: 2000 });
    assert.equal(await page.getByText('Every frame is kept until').count(), 0);
  }, {
    before: (page) => page.route(/timeline\?limit/, async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), traced_until: new Date(Date.now() - 60_000).toISOString() } });
      told = true;
    }),
  });
}

// It is asked for its version again, and may find what this page has no sentence for.
async function later(g) {
  let restarted = false;
  await visit(g, '#/overview', async (page) => {
    await page.getByText('Online now').first().waitFor();
    await stop(g);
    await start(g);
    restarted = true;
    await page.getByText('A finding of tomorrow').waitFor();
    await page.getByText('Version 9.9.9').waitFor();
  }, {
    expected: [/ERR_/],
    before: async (page) => {
      const change = (path, json) => page.route(path, async (route) => {
        if (!restarted) return route.continue();
        const response = await route.fetch();
        await route.fulfill({ response, json: json(await response.json()) });
      });
      await change('**/v1/session', (it) => ({ ...it, version: '9.9.9' }));
      await change('**/v1/findings', (it) => ({ ...it, items: [{ code: 'tomorrow', severity: 'warning', text: 'A finding of tomorrow.', count: 1, facts: {} }] }));
    },
  });
}
