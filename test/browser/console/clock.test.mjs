// A reader's clock that is minutes off: ages and times since are by the gateway's clock, a
// session holds, and live pages stay live. And a key that ends by time under an open page.
import assert from 'node:assert/strict';
import { acks, device } from './device.mjs';
import { api, gateway } from './gateway.mjs';
import { login, shot, visit } from './page.mjs';
import { pause, play } from './stage.mjs';

const minutes = 5.5; // in words, 5 min
let g;
await play([
  ['five minutes behind', async () => off((g = await gateway('keyed', { admin: true })), -minutes)],
  ['five minutes ahead', () => off(g, minutes)],
  ['a key that ends by time', () => ends(g)],
]);

async function off(g, by) {
  const id = by < 0 ? 'behind' : 'ahead';
  const lamp = await device(g, id, { handle: acks });
  await api(g, 'POST', '/v1/clients', { id: 'created-' + id });
  const before = (page) => page.addInitScript(shiftClock, by * 60_000);
  await visit(g, '#/clients/' + id, async (page) => {
    await login(page, g.key);
    await page.locator('#send').waitFor();
    assert.ok(Math.abs((await page.evaluate(() => Date.now())) - Date.now() - by * 60_000) < 5000);
    await page.getByText(`Your clock is off by 5 min`).waitFor();
    await page.getByText(/^Online since/).waitFor();
    await page.locator('dd', { hasText: /^\d s ago$/ }).waitFor(); // its last word

    await page.locator('#send').fill('on');
    await page.locator('#send').press('Enter');
    await page.locator('.live .line', { hasText: 'acked' }).first().waitFor({ timeout: 5000 });
    await page.getByRole('button', { name: 'live' }).waitFor();
    await shot(page, 'clock-' + id);
    lamp.end();
    await page.getByText(/^Offline, last heard at/).waitFor();

    await page.goto(`${g.http}/console/#/clients`);
    const row = page.getByRole('row').filter({ has: page.getByRole('link', { name: id, exact: true }) });
    await row.waitFor();
    const ages = await row.locator('time').allInnerTexts();
    assert.ok(ages.length && ages.every((each) => /^\d+ s$/.test(each.trim())), `ages ${ages}`);

    await page.goto(`${g.http}/console/#/events`);
    await page.locator('.live .line', { hasText: id }).first().waitFor(); // the hour before, by the gateway's clock
    await device(g, 'late-' + id);
    await page.locator('.live .line', { hasText: 'late-' + id }).first().waitFor();
    await page.reload();
    await page.locator('.live .line', { hasText: 'late-' + id }).first().waitFor();
    assert.equal(await page.getByLabel('API key').count(), 0, 'the session did not hold');
  }, { expected: [/ 401 /], before });
}

/** Runs in the page before its scripts. */
function shiftClock(ms) {
  const Real = Date;
  window.Date = class extends Real {
    constructor(...args) {
      super(...(args.length ? args : [Real.now() + ms]));
    }
    static now() {
      return Real.now() + ms;
    }
  };
}

// The session ends with the key. What was typed stays, and another key goes on.
async function ends(g) {
  const { secret, expires_at: end } = await api(g, 'POST', '/v1/keys', { name: 'brief', scopes: ['clients:read', 'messages:write', 'messages:read', 'events:read'], expires_in: '8s' });
  await visit(g, '#/clients/ahead', async (page) => {
    await login(page, secret);
    await page.locator('#send').fill('half of a sentence');
    await pause(Date.parse(end) - Date.now());
    await page.getByText('Your session has ended').waitFor(); // by itself: the page asks every two seconds
    await shot(page, 'session-ended');
    await login(page, g.key);
    await page.getByText('Your session has ended').waitFor({ state: 'detached' });
    assert.equal(await page.locator('#send').inputValue(), 'half of a sentence');
    await page.locator('#send').press('Enter');
    await page.locator('.answer', { hasText: 'queued' }).waitFor();
    await page.getByRole('button', { name: 'live' }).waitFor(); // the timeline goes on, too
  }, { expected: [/ 401 /] });
}
