// Who knocked and was refused: the page lists it with the reason, a token is made for it
// and shown once, and the device comes in with it.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { device } from './device.mjs';
import { api, gateway } from './gateway.mjs';
import { shot, shots, visit } from './page.mjs';
import { play, work } from './stage.mjs';

const tokens = join(work, 'tokens');
writeFileSync(tokens, '', { mode: 0o600 });
let g;
await play([
  ['approve', async () => approve((g = await gateway('listed', { flags: ['--auth-device-unknown', 'listed', '--auth-device-tokens-file', tokens] })))],
  ['refused, in every look', () => looks(g), 90],
]);

async function approve(g) {
  assert.ok(!(await device(g, 'lock-1')).registered);
  assert.ok(!(await device(g, 'lock-1', { token: 'lwd_wrong' })).registered);
  await visit(g, '#/refused', async (page) => {
    const row = page.getByRole('row').filter({ hasText: 'lock-1' });
    await row.getByText('2', { exact: true }).waitFor();
    await row.getByRole('button', { name: 'Give it a token' }).click();
    await page.getByText('It is shown only once').waitFor();
    await shot(page, 'approve-token');
    const token = (await page.getByRole('dialog').locator('.data').innerText()).split(/\s/)[0];
    await page.keyboard.press('Escape');
    await page.locator('dialog').filter({ hasText: token }).waitFor({ state: 'detached' }); // its role goes first
    assert.ok(!(await page.content()).includes(token), 'the token is still on the page');
    const { items } = await api(g, 'GET', '/v1/clients/lock-1/tokens');
    assert.equal(items.length, 1);
    assert.ok(!JSON.stringify(items).includes(token), 'the API gives the token again');

    const lock = await device(g, 'lock-1', { token });
    assert.ok(lock.registered, `${lock.lines}`);
    await row.waitFor({ state: 'detached' }); // who came in knocks no more

    await device(g, 'stranger');
    const other = page.getByRole('row').filter({ hasText: 'stranger' });
    await other.getByRole('button', { name: 'Dismiss' }).click();
    await other.waitFor({ state: 'detached' });
    assert.deepEqual((await api(g, 'GET', '/v1/refused')).items, []);
    await page.goto(`${g.http}/console/#/clients/lock-1`);
    await page.getByText(/^Online since/).waitFor();
  });
}

async function looks(g) {
  for (const [id, token] of [['lock-2', ''], ['pump-basement-east-of-the-old-harbour-building-0042', 'lwd_wrong'], ['meter-3', '']]) {
    for (let i = 0; i < 3; i++) await device(g, id, { token });
  }
  await shots(g, '#/refused', 'refused', (page) => page.getByText('lock-2'));
}
