// Pages in the states that are rare in a quiet test: an overview that burns, no match, the
// longest payload with characters that turn text around, a gateway that is gone.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { acks, device, large } from './device.mjs';
import { api, gateway, start, stop } from './gateway.mjs';
import { noFindings, seen, shot, shots, visit } from './page.mjs';
import { play, until, work } from './stage.mjs';

let quiet;
await play([
  ['nothing found', async () => nothingFound((quiet = await gateway('quiet'))), 90],
  ['one line between two tiles', () => tiles(quiet)],
  ['256 KiB that turn text around', () => turnedText(quiet), 120],
  ['a gateway that is gone', () => gone(quiet), 120],
  ['an overview that burns', () => burning(), 120],
]);

async function nothingFound(g) {
  await api(g, 'POST', '/v1/clients', { id: 'lamp' });
  await shots(g, '#/clients?prefix=nobody', 'clients-none', (page) => page.getByRole('grid').getByRole('button'));
  await visit(g, '#/uplinks', async (page) => {
    await page.getByText('No device has sent anything yet.').waitFor();
    await noFindings(page);
  });
  await visit(g, '#/clients?prefix=nobody', async (page) => {
    await page.getByRole('grid').getByRole('button').waitFor();
    await noFindings(page);
    await page.getByRole('grid').getByRole('button').click();
    await page.getByRole('link', { name: 'lamp' }).waitFor();
  });
}

// Left of each tile and above it is one line: that of the list, or one between two tiles.
async function tiles(g) {
  for (const width of [375, 1280]) {
    await visit(g, '#/overview', async (page) => {
      await page.locator('.tiles li').nth(3).waitFor();
      const wrong = await page.locator('.tiles').evaluate((list) => {
        const at = list.getBoundingClientRect();
        const inner = { left: at.left + list.clientLeft, top: at.top + list.clientTop, right: at.right - list.clientLeft, bottom: at.bottom - list.clientTop };
        const tiles = Array.from(list.children, (tile) => ({ box: tile.getBoundingClientRect(), style: getComputedStyle(tile), text: tile.innerText }));
        const has = ({ box, style }, side) => style.getPropertyValue(`border-${side}-width`) !== '0px' && (side === 'left' || side === 'top' ? box[side] >= inner[side] : box[side] <= inner[side]);
        const near = (a, b) => Math.abs(a - b) <= 1;
        const lines = (tile, side, other, along) =>
          Number(near(tile.box[side], inner[side])) + Number(has(tile, side)) +
          tiles.filter((each) => each !== tile && near(each.box[other], tile.box[side]) && near(each.box[along], tile.box[along]) && has(each, other)).length;
        return tiles.map((tile) => [tile.text, lines(tile, 'left', 'right', 'top'), lines(tile, 'top', 'bottom', 'left')]).filter(([, left, top]) => left !== 1 || top !== 1);
      });
      assert.deepEqual(wrong, [], `at ${width} pixels`);
    }, { options: { viewport: { width, height: 800 } } });
  }
}

async function turnedText(g) {
  const most = (await api(g, 'GET', '/v1/session')).limits.max_payload_bytes;
  const turned = '\u202Eevil\u202C \u2066inside\u2069 \u200B\u0007 שלום مرحبا 锁 ';
  const text = turned.repeat(Math.floor(most / Buffer.byteLength(turned)));
  await api(g, 'POST', '/v1/clients', { id: 'odd' });
  await api(g, 'PATCH', '/v1/clients/odd', { labels: { name: 'east \u202Etsew' } });
  await large(g, 'odd', '\u202Eenod');
  const { id } = await api(g, 'POST', '/v1/clients/odd/messages', { text });
  await api(g, 'POST', '/v1/clients/odd/messages', { text: turned });
  assert.ok(Buffer.byteLength(text) > most - 100, 'the payload is as long as one may be');
  await shots(g, '#/clients/odd', 'client-bidi', (page) => page.locator('mark', { hasText: 'U+202E' }).first());
  await visit(g, '#/clients/odd', async (page) => {
    await page.locator('mark', { hasText: 'U+202E' }).first().waitFor();
    const button = await page.locator('form.send button.first').boundingBox();
    const timeline = await page.getByRole('log').boundingBox();
    assert.ok(button.x + button.width < timeline.x, 'the button of the send box is behind the timeline');
  });
  await shots(g, '#/messages/' + id, 'message-bidi', (page) => page.locator('mark', { hasText: 'U+202E' }).first());
}

async function gone(g) {
  await device(g, 'lamp', { handle: acks });
  for (const { width, colorScheme, locale } of seen) {
    await visit(g, '#/clients/lamp', async (page) => {
      await page.locator('#send').fill('typed before');
      await page.locator('.live .line').first().waitFor();
      await stop(g);
      await page.locator('.stale').first().waitFor();
      await shot(page, `connection-lost-${width}-${colorScheme}-${locale}`);
      await start(g);
      await page.locator('.stale').first().waitFor({ state: 'detached', timeout: 30_000 });
      assert.equal(await page.locator('#send').inputValue(), 'typed before');
    }, { options: { viewport: { width, height: 800 }, colorScheme, locale }, expected: [/ERR_|503/] });
  }
}

async function burning() {
  const tokens = join(work, 'tokens');
  writeFileSync(tokens, '', { mode: 0o600 });
  const g = await gateway('burning', {
    flags: ['--auth-device-unknown', 'listed', '--auth-device-tokens-file', tokens, '--tcp-heartbeat', '1s', '--tcp-grace', '500ms', '--clients-max', '16', '--data-max-disk', '2MiB'],
  });
  const ids = Array.from({ length: 15 }, (_, i) => `meter-${String(i).padStart(2, '0')}`);
  for (const id of ids) await api(g, 'POST', '/v1/clients', { id });
  const silent = [];
  for (const id of ids.slice(0, 12)) silent.push(await device(g, id));
  const confirmed = async () => (await api(g, 'GET', '/v1/clients?limit=100')).items.filter((each) => each.confirmed).length;
  await until('the gateway has an answer of each', async () => (await confirmed()) === silent.length);
  for (const each of silent) each.quiet = true;
  await device(g, ids[12], { handle: acks });
  for (let i = 0; i < 6; i++) (await device(g, ids[13])).end(); // flaps
  for (let i = 0; i < 6; i++) await device(g, ids[14]); // each takes the id from the one before
  for (const id of ['stranger-1', 'stranger-2']) await device(g, id); // refused
  await api(g, 'POST', `/v1/clients/${ids[12]}/trace`, { for: '10m' });
  const burns = async (codes) => {
    let found;
    const all = async () => (found = (await api(g, 'GET', '/v1/findings')).items.map((each) => each.code));
    await until(`${codes} burn`, async () => (await all(), codes.every((each) => found.includes(each))), 40).catch((error) => assert.fail(`${error.message}, and there are ${found}`));
  };
  await burns(['clients_flapping', 'clients_full', 'devices_refused', 'devices_silent', 'duplicate_ids', 'traces_left']);
  await api(g, 'POST', '/v1/clients', { id: 'offline' });
  const push = () => api(g, 'POST', '/v1/clients/offline/messages', { text: 'x'.repeat(200_000) }).then(() => false, ({ message }) => message.includes('disk-full'));
  await until('the store is full', push, 30);
  await burns(['disk_nearly_full']);
  await visit(g, '#/overview', async (page) => {
    await page.getByText(/of the 2 MiB of data\.max_disk/).waitFor(); // not the disk, which has room
    await page.getByText('Ids that two devices claim in turn: 1, such as meter-14.').waitFor();
  });
  await shots(g, '#/overview', 'overview-burning', (page) => page.locator('li.critical').first());
}
