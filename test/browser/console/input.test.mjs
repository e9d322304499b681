// Input methods and keys: Enter that takes a candidate sends nothing, and single-letter
// keys belong to the page only while no field and no input method has them. JSON reaches
// the gateway as it was typed, and is shown as the gateway has it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { acks, device } from './device.mjs';
import { api, gateway } from './gateway.mjs';
import { visit } from './page.mjs';
import { play } from './stage.mjs';

let g;
await play([
  ['composing in the send box', async () => sendBox((g = await gateway('open')))],
  ['composing in the find box', () => findBox(g)],
  ['keys of the page', () => keys(g)],
  ['typed JSON', () => typedJSON(g)],
  ['JSON that is no tree to walk', () => deepJSON(g)],
  ['pages that are none', () => noPages(g)],
]);

async function sendBox(g) {
  await device(g, 'lamp', { handle: acks });
  await visit(g, '#/clients/lamp', async (page) => {
    const method = await inputMethod(page);
    const posts = postsOf(page);
    await page.locator('#send').focus();
    await method.compose('kai');
    await method.enter();
    await page.keyboard.press('Enter');
    await page.waitForTimeout(500);
    assert.deepEqual(posts, [], 'Enter while composing sent the message');
    assert.equal((await page.locator('#send').inputValue()).trim(), 'kai');
    await page.locator('#send').fill('');
    await method.commit('开');
    await page.keyboard.press('Enter');
    await page.locator('.answer', { hasText: 'acked' }).waitFor();
    assert.equal(posts.length, 1);
  });
  const { items } = await api(g, 'GET', '/v1/clients/lamp/messages?fields=preview');
  assert.deepEqual(items.map((m) => m.preview), ['开']);
}

async function findBox(g) {
  await visit(g, '#/messages', async (page) => {
    await page.getByRole('heading', { level: 1 }).waitFor();
    const method = await inputMethod(page);
    await page.keyboard.press('/');
    await method.compose('lamp');
    await method.enter();
    await page.keyboard.press('Enter');
    await page.waitForTimeout(300);
    assert.equal(new URL(page.url()).hash, '#/messages', 'Enter while composing left the page');
    await method.commit('lamp');
    await page.keyboard.press('Enter');
    await page.waitForURL(/#\/clients\/lamp$/);
  });
}

async function typedJSON(g) {
  const json = '{"n":9007199254740993,"big":1e400,"f":1.0,"z":-0}';
  await api(g, 'POST', '/v1/clients', { id: 'off' });
  for (const hash of ['#/push?client=off', '#/clients/off']) {
    await visit(g, hash, async (page) => {
      await page.getByRole('radio', { name: 'JSON' }).check();
      await page.locator('main textarea').fill(json);
      const push = page.waitForRequest((request) => request.method() === 'POST');
      await page.getByRole('button', { name: 'Send', exact: true }).click();
      assert.equal((await push).postData().replace('"to":{"client":"off"},', ''), `{"json":${json}}`, 'sent other JSON than was typed');
    });
  }
  const { items } = await api(g, 'GET', '/v1/clients/off/messages');
  await visit(g, '#/messages/' + items[0].id, async (page) => {
    const shown = page.locator('.payload .body');
    await shown.waitFor();
    assert.equal((await shown.textContent()).replace(/\s/g, ''), json, 'shows other JSON than was sent');
    await page.locator('.payload', { hasText: `${json.length} B` }).waitFor();
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download' }).click();
    assert.equal(readFileSync(await (await download).path(), 'utf8'), json, 'downloads other JSON than was sent');
  });
}

async function deepJSON(g) {
  const deep = await fetch(g.http + '/v1/clients/off/messages', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: `{"json":${'['.repeat(9000)}${']'.repeat(9000)}}`,
  });
  const { id } = await deep.json();
  await visit(g, '#/messages/' + id, async (page) => {
    await page.locator('.payload .body', { hasText: '[' }).waitFor();
  });
}

async function noPages(g) {
  for (const name of ['zzz', 'constructor', '__proto__', 'toString/x']) {
    await visit(g, '#/' + name, async (page) => {
      await page.getByText('There is no such page.').waitFor();
    });
  }
}

async function keys(g) {
  await visit(g, '#/events', async (page) => {
    const stays = async (why) => {
      await page.waitForTimeout(200);
      assert.equal(new URL(page.url()).hash, '#/events', why);
      assert.equal(await page.getByRole('dialog').count(), 0, why);
    };
    await page.getByRole('heading', { level: 1 }).waitFor();
    for (const key of ['n', '?', '/']) await press(page, key, { isComposing: true });
    for (const key of ['n', '?', '/']) await press(page, key, { keyCode: 229 });
    for (const key of ['n', '?']) await press(page, key, { ctrlKey: true });
    await stays('a key was taken from an input method, or with a modifier');

    await page.keyboard.press('/');
    await page.keyboard.type('n?g c/ ');
    await stays('a key was taken from the find box');
    assert.equal(await page.locator('#find').inputValue(), 'n?g c/ ');
    await page.keyboard.press('Escape');
    await page.locator('main select').first().focus();
    await page.keyboard.press('n');
    await stays('a key was taken from a select');

    await page.locator('main select').first().blur();
    await page.keyboard.press('?');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('n');
    await page.waitForTimeout(200);
    assert.equal(new URL(page.url()).hash, '#/events', 'a key went through a dialog');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.keyboard.press('g');
    await page.keyboard.press('c');
    await page.waitForURL(/#\/clients$/);
    await page.keyboard.press('n');
    await page.waitForURL(/#\/push$/);
  });
}

/** An input method of the browser, which composes in the field that has the focus. */
async function inputMethod(page) {
  const tab = await page.context().newCDPSession(page);
  return {
    compose: (text) => tab.send('Input.imeSetComposition', { text, selectionStart: text.length, selectionEnd: text.length }),
    /** The Enter that input methods take, as browsers report it to the page. */
    enter: () => tab.send('Input.dispatchKeyEvent', { type: 'rawKeyDown', key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 229 }),
    commit: (text) => tab.send('Input.insertText', { text }),
  };
}

function postsOf(page) {
  const posts = [];
  page.on('request', (r) => r.method() === 'POST' && posts.push(r.url()));
  return posts;
}

/** A key event on the page as an input method, or a modifier, makes it. */
function press(page, key, how) {
  return page.evaluate(([key, how]) => document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...how })), [key, how]);
}
