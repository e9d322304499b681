// Lists that are longer than their first page: nothing that the gateway has is out of reach.
import assert from 'node:assert/strict';
import { device } from './device.mjs';
import { api, gateway } from './gateway.mjs';
import { login, visit } from './page.mjs';
import { play, until } from './stage.mjs';

let g;
await play([
  ['more keys than a page', async () => keys((g = await gateway('keyed', { admin: true })))],
  ['more changes than a page', () => changes(g)],
  ['a list by keys', async () => byKeys((g = await gateway('rows')))],
  ['rows that a filter takes no more', async () => left((g = await gateway('open')))],
]);

async function keys(g) {
  for (let i = 0; i < 205; i++) await api(g, 'POST', '/v1/keys', { name: 'key ' + i, scopes: ['clients:read'] });
  await visit(g, '#/keys', async (page) => {
    await login(page, g.key);
    await page.getByRole('cell', { name: 'key 204' }).waitFor();
  }, { expected: [/401/] });
}

// The keys before and their page are changes, too.
async function changes(g) {
  await visit(g, '#/audit', async (page) => {
    await login(page, g.key);
    const rows = page.locator('tbody tr');
    await rows.nth(199).waitFor();
    assert.equal(await rows.count(), 200);
    await page.getByText('Complete since').waitFor();
    assert.equal(await page.getByText('Older ones are in the log').count(), 0, 'says that the older ones are elsewhere');
    await page.getByRole('button', { name: 'Show older ones' }).click();
    await page.getByRole('cell', { name: 'key 0', exact: false }).last().waitFor();
    await page.getByText('Older ones are in the log').waitFor();
    const { items } = await api(g, 'GET', '/v1/audit?limit=1000');
    assert.equal(await rows.count(), items.length);

    const asked = []; // what comes is one page, not all that are shown
    page.on('request', (request) => request.url().includes('/v1/audit') && asked.push(request.url()));
    await api(g, 'POST', '/v1/keys', { name: 'the next one', scopes: ['clients:read'] });
    await rows.first().getByText(/the next one|key_/).first().waitFor();
    await until('a change is added', async () => (await rows.count()) === items.length + 1);
    assert.ok(asked.length > 0 && asked.every((url) => !url.includes('after=')), asked.join());
  }, { expected: [/401/] });
}

// The focus stays at its row while the list is scrolled, and keys go to both ends.
async function byKeys(g) {
  for (let i = 0; i < 300; i++) await api(g, 'POST', '/v1/clients', { id: 'row.' + String(i).padStart(3, '0') });
  await visit(g, '#/clients', async (page) => {
    await page.getByRole('link', { name: 'row.000' }).waitFor();
    await page.getByRole('grid').focus();
    const at = async (index) => {
      const focused = () => page.evaluate(() => {
        const row = document.activeElement;
        const [a, b] = [row.getBoundingClientRect(), document.querySelector('.box').getBoundingClientRect()];
        return `${row.dataset.index} ${a.top >= b.top - 1 && a.bottom <= b.bottom + 1 ? 'seen' : 'away'}`;
      });
      await until(`the focus is ${index}`, async () => (await focused()) === index, 5).catch(async (error) => assert.fail(`${error.message}, not ${await focused()}`));
    };
    await page.keyboard.press('ArrowDown');
    await at('0 seen');
    await page.evaluate(() => (document.querySelector('.box').scrollTop = 3000));
    await at('0 away');
    await page.keyboard.press('ArrowDown');
    await at('1 seen');
    await page.keyboard.press('End'); // of what is known
    await at('199 seen');
    await page.getByRole('link', { name: 'row.200' }).waitFor();
    await page.keyboard.press('End');
    await at('299 seen');
    await page.keyboard.press('Home');
    await at('0 seen');
    await page.keyboard.press('PageDown');
    await page.keyboard.press('Enter');
    await page.locator('.why').waitFor();
  });
}

// They stay where they are and say how it is: acked, gone.
async function left(g) {
  const lamp = await device(g, 'lamp'); // it answers nothing
  await api(g, 'POST', '/v1/clients', { id: 'brief' });
  for (const to of ['lamp', 'brief', 'lamp']) await api(g, 'POST', '/v1/messages', { to: { client: to }, text: 'on' });
  await api(g, 'POST', '/v1/messages', { to: { clients: ['lamp', 'brief'] }, text: 'all on' });
  const numbers = () => lamp.lines.map((line) => /^DATA (\d+)/.exec(line)?.[1]).filter(Boolean);
  await until('the lamp has three', () => new Set(numbers()).size === 3);
  const { items } = await api(g, 'GET', '/v1/messages');
  await visit(g, '#/clients', async (clients) => {
    const context = clients.context();
    const [messages, deliveries] = [await context.newPage(), await context.newPage()];
    await messages.goto(g.http + '/console/#/messages?status=pending');
    await deliveries.goto(g.http + `/console/#/messages/${items[0].id}?status=sent`);
    const row = (page, text) => page.locator('.row').filter({ hasText: text });
    await row(clients, 'brief').waitFor();
    await row(messages, 'lamp').nth(1).waitFor();
    await row(deliveries, 'lamp').waitFor();
    for (const n of new Set(numbers())) lamp.write(`ACK ${n} done`);
    await api(g, 'DELETE', '/v1/clients/brief?forget=true');

    await clients.bringToFront();
    await row(clients, 'brief').getByText('gone').waitFor();
    await messages.bringToFront();
    await row(messages, 'acked').nth(1).waitFor();
    assert.equal(await messages.locator('.row').count(), 4);
    await until('no line is new', async () => (await messages.getByText(/^\d+ new/).count()) === 0);
    await deliveries.bringToFront();
    await row(deliveries, 'acked').waitFor();
  }, { expected: [/ 404 /] });
}
