// Other pages and other gateways: nothing of another origin, a listed one included, can use
// the console's cookie or frame the console, and two gateways on one host do not disturb
// each other's sessions.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { api, freePort, gateway } from './gateway.mjs';
import { login, visit } from './page.mjs';
import { play } from './stage.mjs';

let one, two;
await play([
  ['another origin', async () => strangers((one = await gateway('one', { admin: true })), await site())],
  ['a listed origin', async () => listed()],
  ['two gateways on one host', async () => twins(one, (two = await gateway('two', { admin: true })))],
]);

/** A page of another port of the same host, to which browsers send the host's cookies. */
async function site(port) {
  const server = createServer((_, response) => response.setHeader('Content-Type', 'text/html').end('<h1>other</h1>'));
  await new Promise((done) => server.listen(port ?? 0, '127.0.0.1', done));
  server.unref();
  return `http://127.0.0.1:${server.address().port}`;
}

async function strangers(g, origin) {
  await visit(g, '', async (page) => {
    await logIn(page, g);
    await attack(g, page, origin);
  }, { expected: [/ 401 /] });
}

async function listed() {
  const port = await freePort();
  const origin = await site(port);
  const g = await gateway('listed', { admin: true, flags: ['--http-cors-origins', origin] });
  await visit(g, '', async (page) => {
    await logIn(page, g);
    const evil = await attack(g, page, origin);
    const own = await evil.evaluate(([url, key]) => fetch(url + '/v1/clients', { headers: { Authorization: 'Bearer ' + key } }).then((r) => r.status), [g.http, g.key]);
    assert.equal(own, 200, 'the listed origin has no use of a key of its own, so the attack shows nothing');
  }, { expected: [/ 401 /] });
}

async function logIn(page, g) {
  await login(page, g.key);
  await page.getByText('Online now').or(page.getByText('Waiting for the first connection')).first().waitFor();
}

/** Does on a page of another origin, in the browser that is logged in, what a thief would do. */
async function attack(g, page, origin) {
  const evil = await page.context().newPage();
  await evil.goto(origin);
  const cookies = await page.context().cookies(origin);
  assert.ok(cookies.length, 'the browser has no cookie for this host, so the attack shows nothing');

  const answers = await evil.evaluate(steal, g.http);
  for (const { how, answer } of answers) assert.ok(['refused', 'opaque', 401, 403].includes(answer), `${how}: ${answer}`);

  await evil.evaluate((url) => {
    const form = Object.assign(document.createElement('form'), { method: 'POST', action: url + '/v1/clients', enctype: 'text/plain', target: 'there' });
    form.append(Object.assign(document.createElement('input'), { name: '{"id":"stolen","x":"', value: '"}' }));
    const frame = Object.assign(document.createElement('iframe'), { name: 'there' });
    document.body.append(frame, form);
    form.submit();
    document.body.append(Object.assign(document.createElement('iframe'), { src: url + '/console/', id: 'framed', width: 600, height: 400 }));
  }, g.http);
  await evil.waitForTimeout(1000);
  const framed = await (await evil.locator('#framed').elementHandle()).contentFrame();
  assert.match(framed.url(), /^chrome-error:/, 'the console is in a frame');
  assert.equal(await framed.locator('button').count(), 0, 'there is something to click in the frame');

  const { items } = await api(g, 'GET', '/v1/clients?status=all');
  assert.deepEqual(items.filter((item) => item.id === 'stolen'), []);
  return evil;
}

/** Runs in the page: every kind of request with the browser's cookies, and how it was answered. */
async function steal(url) {
  const answers = [];
  const header = { 'Longwire-Console': '1' };
  const write = { method: 'POST', body: '{"id":"stolen"}' };
  const kinds = [{}, { headers: header }, { ...write, headers: { 'Content-Type': 'text/plain' } }, { ...write, headers: { ...header, 'Content-Type': 'application/json' } }];
  for (const init of kinds) {
    for (const mode of ['cors', 'no-cors']) {
      const how = JSON.stringify({ ...init, mode });
      const answer = await fetch(url + '/v1/clients', { credentials: 'include', mode, ...init }).then((r) => r.status || r.type, () => 'refused');
      answers.push({ how, answer });
    }
  }
  const session = await fetch(url + '/v1/session', { method: 'POST', credentials: 'include' }).then((r) => r.status, () => 'refused');
  return [...answers, { how: 'open a session', answer: session }];
}

async function twins(one, two) {
  await visit(one, '', async (page) => {
    await logIn(page, one);
    const other = await page.context().newPage();
    await other.goto(two.http + '/console/');
    await logIn(other, two);
    const names = (await page.context().cookies(one.http)).map((each) => each.name);
    assert.equal(new Set(names).size, 2, `cookies ${names}`);
    for (const each of [page, other]) {
      await each.reload();
      await each.locator('details.menu').waitFor(); // still logged in
    }
    await page.locator('details.menu summary').click();
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByLabel('API key').waitFor();
    await other.reload();
    await other.locator('details.menu').waitFor();
    await other.goto(two.http + '/console/#/keys');
    await other.getByRole('cell', { name: 'admin' }).first().waitFor();
    await page.reload();
    await page.getByLabel('API key').waitFor();
  }, { expected: [/ 401 /] });
}
