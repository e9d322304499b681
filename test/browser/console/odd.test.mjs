// What is odd: payloads without a word or longer than the page, ids that do not exist, an
// audience of another kind. Each page has a heading, each link a name, and keys reach all.
import assert from 'node:assert/strict';
import { large } from './device.mjs';
import { api, gateway } from './gateway.mjs';
import { fits, noFindings, visit } from './page.mjs';
import { play } from './stage.mjs';

const phone = { viewport: { width: 375, height: 740 }, colorScheme: 'dark', locale: 'zh-CN' };

let g;
await play([
  ['payloads', async () => payloads((g = await gateway('odd')))],
  ['nothing is there', () => nothing(g)],
  ['a clock that was set back', () => clock(g)],
  ['an audience of another kind', () => audience(g)],
]);

async function payloads(g) {
  await large(g, 'big', 'done');
  const push = async (body) => (await api(g, 'POST', '/v1/clients/big/messages?wait=5s', body)).id;
  const empty = await push({ text: '' });
  const long = await push({ text: 'x\n'.repeat(4000) });
  const binary = await push({ base64: Buffer.from(Array.from({ length: 4000 }, (_, i) => (i * 7) % 256)).toString('base64') });
  await visit(g, '#/clients/big', async (page) => {
    await page.getByRole('link', { name: '空载荷' }).waitFor();
    await noFindings(page);
  }, { options: phone });
  for (const id of [empty, long, binary]) {
    await visit(g, '#/messages/' + id, async (page) => {
      const region = page.getByRole('group', { name: '载荷' }).last();
      await page.getByText('接受于').waitFor();
      await noFindings(page);
      await fits(page, id);
      if (id === empty) return;
      await region.focus();
      await page.keyboard.press('End');
      await page.waitForFunction((it) => it.scrollTop > 0, await region.elementHandle());
    }, { options: phone });
  }
}

async function nothing(g) {
  for (const hash of ['#/nope', '#/messages/msg_0', '#/webhooks/wh_0', '#/clients/nobody']) {
    await visit(g, hash, async (page) => {
      await page.getByRole('heading', { level: 1 }).waitFor();
      await noFindings(page);
      assert.equal(await page.getByText('No such').count(), 0, 'speaks English');
    }, { options: phone, expected: [/ 404 /] });
  }
}

// Two points, and two marks, may have one time.
async function clock(g) {
  const at = (seconds) => new Date(Date.UTC(2026, 0, 1, 12, 0, seconds)).toISOString();
  const point = { online: 1, acked: 5, seconds: 10, connects: 0, closes: 0 };
  const history = {
    now: at(60), begins_at: at(0), step: '10s',
    points: [0, 10, 20, 10, 20, 30].map((seconds) => ({ ...point, at: at(seconds) })),
    marks: [{ at: at(20), code: 'gap', by_seconds: 3 }, { at: at(20), code: 'clock_step', by_seconds: -20 }],
  };
  await visit(g, '', async (page) => {
    await page.locator('.words').getByText('12:00:20').nth(1).waitFor();
    await page.getByRole('button', { name: 'As a table' }).first().click();
    await page.locator('figure tbody tr').nth(5).waitFor();
    const svg = page.locator('figure').nth(1).locator('svg');
    const [box, curve] = [await svg.boundingBox(), await svg.locator('path').last().boundingBox()];
    assert.ok(curve.x >= box.x - 2 && curve.width <= box.width + 4, 'a curve leaves its chart');
  }, { options: { timezoneId: 'UTC' }, before: (page) => page.route('**/v1/stats/history*', (route) => route.fulfill({ json: history })) });
}

// A list of ids in the field of one client would reach the first alone.
async function audience(g) {
  await visit(g, '#/push?clients=one,two', async (page) => {
    await page.getByLabel('One client').check();
    await page.getByLabel('Payload').fill('open');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('not a client id').first().waitFor();
    assert.match(page.url(), /#\/push/);
  }, { expected: [/ 422 /] });
}
