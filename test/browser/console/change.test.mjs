// What an operator changes on the pages: a client's labels and groups, with an undo, and
// webhooks: made, tried, paused, replayed, with another secret, removed.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { api, gateway } from './gateway.mjs';
import { noFindings, shot, shots, visit } from './page.mjs';
import { play, until } from './stage.mjs';

const endpoint = { got: [], status: 200 };
const server = createServer((request, response) => {
  let body = '';
  request.on('data', (data) => (body += data));
  request.on('end', () => {
    endpoint.got.push({ replay: request.headers['webhook-replay'], ...JSON.parse(body) });
    response.writeHead(endpoint.status).end('thanks');
  });
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const url = `http://127.0.0.1:${server.address().port}/in`;

let g;
try {
  await play([
    ['labels and groups', async () => labels((g = await gateway('open')))],
    ['webhooks', () => webhooks(g)],
  ]);
} finally {
  server.closeAllConnections();
  server.close();
}

async function labels(g) {
  await api(g, 'POST', '/v1/clients', { id: 'gate-7' });
  await api(g, 'PATCH', '/v1/clients/gate-7', { labels: { site: 'south', odd: 'a=b, c' }, groups: ['gates'] });
  await visit(g, '#/clients/gate-7', async (page) => {
    const edit = page.getByRole('button', { name: 'Change labels and groups' });
    await edit.click();
    await noFindings(page);
    await page.getByLabel('Value').first().fill('a=b');
    await page.getByLabel('Name').nth(2).fill('floor');
    await page.getByLabel('Value').nth(2).fill('2');
    await page.getByRole('textbox', { name: /^Groups/ }).fill('gates\n\n north');
    await shot(page, 'client-labels');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('link', { name: 'floor=2' }).waitFor();
    const changed = await api(g, 'GET', '/v1/clients/gate-7');
    assert.deepEqual([changed.labels, changed.groups], [{ site: 'south', odd: 'a=b', floor: '2' }, ['gates', 'north']]);

    await page.getByRole('button', { name: 'Undo the change' }).click();
    await page.getByRole('link', { name: 'floor=2' }).waitFor({ state: 'detached' });
    const undone = await api(g, 'GET', '/v1/clients/gate-7');
    assert.deepEqual([undone.labels, undone.groups], [{ site: 'south', odd: 'a=b, c' }, ['gates']]);

    await edit.click(); // what the gateway refuses stays in the form
    await page.getByLabel('Name').last().fill('not a name');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.locator('dialog [role=alert], dialog .failed').first().waitFor();
    assert.equal(await page.getByLabel('Name').nth(2).inputValue(), 'not a name');
  }, { expected: [/ 4\d\d /] });
}

async function webhooks(g) {
  await visit(g, '#/webhooks', async (page) => {
    await page.getByRole('button', { name: 'New webhook' }).click();
    await page.getByLabel('URL').fill(url);
    await page.getByLabel('Types').fill('client.*, message.received');
    await page.locator('dialog button.first').click();
    await page.getByText('it is shown only once').waitFor();
    assert.match(await page.locator('dialog code').innerText(), /^whsec_/);
    await page.keyboard.press('Escape');
    assert.equal(await page.evaluate(() => document.activeElement.innerText), 'New webhook', 'the focus is back');
    await api(g, 'PUT', '/v1/simulator', { count: 2, profile: 'steady' });
    await until('the events have come', () => endpoint.got.filter((event) => event.type === 'client.connected').length === 2);
    await page.getByRole('link', { name: url }).click();
    await page.getByText('It has all events.').waitFor();
    await page.getByRole('link', { name: 'sim-steady-1' }).first().waitFor(); // among the last requests

    await page.getByRole('button', { name: 'Send a sample' }).click();
    await page.getByText('200 thanks').waitFor();
    endpoint.status = 503;
    await page.getByRole('button', { name: 'Send a sample' }).click();
    await page.getByText(/503/).first().waitFor();
    endpoint.status = 200;

    await page.getByRole('button', { name: 'Replay' }).click();
    await page.locator('dialog button.first').click();
    await page.getByText('The replay goes on').waitFor();
    await until('both have come again', () => endpoint.got.filter((event) => event.replay === 'true' && event.type === 'client.connected').length === 2);

    await page.getByRole('button', { name: 'Rotate the secret' }).click();
    await page.locator('dialog button.first').click();
    await page.locator('dialog code').filter({ hasText: /^whsec_/ }).waitFor();
    await page.keyboard.press('Escape');

    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByText('It is paused').waitFor();
    const before = endpoint.got.length;
    await api(g, 'DELETE', '/v1/clients/sim-steady-2');
    await until('it is behind', async () => (await api(g, 'GET', '/v1/webhooks')).items[0].lag_events > 0);
    assert.equal(endpoint.got.length, before, 'a paused webhook gets events');
    await page.getByRole('button', { name: 'Resume' }).click();
    await until('what has waited comes', () => endpoint.got.length > before);
    await noFindings(page);
  });
  const { id } = (await api(g, 'GET', '/v1/webhooks')).items[0];
  await shots(g, '#/webhooks/' + id, 'webhook-one', (page) => page.locator('table').first());
  await visit(g, '#/webhooks/' + id, async (page) => {
    await page.getByRole('button', { name: 'Remove' }).click();
    await page.locator('dialog button.first').click();
    await page.getByText('There is no webhook.').waitFor();
  }, { expected: [/ 404 /] });
}
