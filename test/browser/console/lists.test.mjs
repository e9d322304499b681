// Lists that are longer than their first page: nothing that the gateway has is out of reach.
import assert from 'node:assert/strict';
import { api, gateway } from './gateway.mjs';
import { login, visit } from './page.mjs';
import { play } from './stage.mjs';

let g;
await play([
  ['more keys than a page', async () => keys((g = await gateway('keyed', { admin: true })))],
  ['more changes than a page', () => changes(g)],
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
  }, { expected: [/401/] });
}
