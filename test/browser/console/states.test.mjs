// Every state at once: on a client's page, in a message to many, in the list. The
// screenshots in grey are for a person, who must still tell the states apart.
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { device } from './device.mjs';
import { api, gateway } from './gateway.mjs';
import { noFindings, seen, shot, shots, visit } from './page.mjs';
import { env, play, until } from './stage.mjs';

const attempts = 2;
let g;
await play([
  ['every state of a client', async () => client((g = await start()))],
  ['every state of messages to many', () => many(g), 120],
  ['every presence', () => presences(g), 90],
]);

// One delivery at a time, two attempts, and a heartbeat whose answer may take long: so each
// state lasts as long as the test needs it.
function start() {
  return gateway('states', { flags: ['--tcp-window', '1', '--delivery-max-attempts', String(attempts), '--tcp-heartbeat', '2s', '--tcp-grace', '5m', '--tcp-ack-timeout', '5m'] });
}

/** Does as the payload says. */
function obeys(n, payload, it) {
  const [word] = payload.split(' ');
  if (word === 'break') it.end();
  return { ack: `ACK ${n} done`, reject: `NAK ${n} jammed` }[word];
}

/** Connects a device that loses its connection at each attempt, until there is none left. */
async function breaks(g, id) {
  for (let i = 0; i < attempts; i++) await (await device(g, id, { handle: (n, payload, it) => it.end() })).ended;
}

async function client(g) {
  const push = (text, ttl = '1h') => api(g, 'POST', '/v1/clients/lamp/messages', { text, ttl });
  const becomes = (status, { id }) => until(`${id} is ${status}`, async () => (await api(g, 'GET', '/v1/messages/' + id)).status === status);
  await api(g, 'POST', '/v1/clients', { id: 'lamp' });
  const broken = await push('break at each attempt');
  await breaks(g, 'lamp');
  await device(g, 'lamp', { handle: obeys });
  await becomes('failed', broken);
  await becomes('acked', await push('ack the first'));
  await becomes('rejected', await push('reject the second'));
  await becomes('expired', await push('hold until it expires', '1s'));
  const held = await push('hold until it is canceled');
  await becomes('sent', held);
  await api(g, 'DELETE', '/v1/messages/' + held.id);
  await becomes('canceled', held);
  await becomes('sent', await push('hold this one'));
  await becomes('queued', await push('wait behind it'));

  await inGrey('client-states', '#/clients/lamp', async (page) => {
    const commands = page.locator('section').filter({ has: page.getByRole('heading', { name: /^Last commands|最近/ }) });
    const glyphs = () => commands.locator('svg').evaluateAll((all) => all.map((each) => each.classList[0]));
    await until('every state is among the commands', async () => new Set(await glyphs()).size === 7);
    const lines = page.locator('.live .glyph');
    for (const state of ['acked', 'rejected', 'failed', 'expired', 'canceled', 'sent', 'queued']) await lines.locator('svg.' + state).first().waitFor();
  });
}

async function many(g) {
  const answers = (i) => (i < 26 ? 'ack' : i < 30 ? 'reject' : 'hold');
  const failing = (i) => i === 30 || i === 31;
  const ids = Array.from({ length: 50 }, (_, i) => `unit-${String(i).padStart(2, '0')}`);
  for (const [i, id] of ids.entries()) {
    await api(g, 'POST', '/v1/clients', { id, groups: ['fleet'] });
    if (i < 37 && !failing(i)) await device(g, id, { handle: (n) => obeys(n, answers(i)) }); // the others are offline
  }
  const push = (text, ttl) => api(g, 'POST', '/v1/messages', { to: { group: 'fleet' }, text, ttl });
  const ended = await push('door open', '6s');
  await until('four devices have rejected', async () => (await api(g, 'GET', '/v1/messages/' + ended.id)).counts.rejected === 4);
  for (const id of ids.slice(44)) await api(g, 'DELETE', `/v1/clients/${id}/messages`); // canceled
  for (const id of ids.filter((_, i) => failing(i))) await breaks(g, id);
  await until('the rest has expired', async () => (await api(g, 'GET', '/v1/messages/' + ended.id)).counts.expired > 0);
  const half = await push('door open again', '1h');
  for (const [i, id] of ids.entries()) if (failing(i)) await breaks(g, id).then(() => device(g, id));
  let counts;
  const want = { total: 50, queued: 13, sent: 5, acked: 26, rejected: 4, expired: 0, canceled: 0, failed: 2 };
  await until('the message stands at 64 %', async () => isDeepStrictEqual((counts = (await api(g, 'GET', '/v1/messages/' + half.id)).counts), want)).catch(() => assert.deepEqual(counts, want));

  await visit(g, '#/messages/' + ended.id, async (page) => {
    await page.getByText(/^All 50 are final/).waitFor();
    assert.equal(await page.getByText(/^expires in/).count(), 0, 'a message that is final does not expire');
    assert.equal(await page.locator('.why svg').count(), 0, 'completed is no state of a delivery, and has no glyph of one');
  });
  for (const { id } of [half, ended]) await visit(g, '#/messages/' + id, patterns);
  await shots(g, '#/messages/' + half.id, 'message-many-60', (page) => page.locator('.bar'));
  await inGrey('message-many-ended', '#/messages/' + ended.id, (page) => page.locator('.bar').waitFor());
  await inGrey('message-many-60', '#/messages/' + half.id, (page) => page.locator('.bar').waitFor());
  await inGrey('messages', '#/messages', (page) => page.locator('.bar').nth(1).waitFor());
}

/** Each part of a bar has a pattern of its own: colours are not told apart by everybody. */
async function patterns(page) {
  await page.locator('.bar span').first().waitFor();
  const parts = await page.locator('.bar').first().locator('span').evaluateAll((all) => all.map((each) => {
    const { backgroundImage, boxShadow } = getComputedStyle(each);
    return (backgroundImage + boxShadow).replace(/rgb\([^)]*\)/g, '');
  }));
  assert.equal(new Set(parts).size, parts.length, parts.join('\n'));
}

async function presences(g) {
  const quiet = await device(g, 'unit-36');
  quiet.quiet = true; // it answers no heartbeat any more
  await until('a client is suspect', async () => (await api(g, 'GET', '/v1/clients?status=suspect')).items.length > 0);
  await inGrey('clients', '#/clients?prefix=unit-3', async (page) => {
    for (const presence of ['online', 'suspect', 'offline']) await page.getByRole('row').locator('svg.' + presence).first().waitFor();
  });
}

/** Shows a page in its colours and in grey, in both themes. */
async function inGrey(name, hash, ready) {
  for (const { width, colorScheme, locale } of seen.filter((each) => each.width === 1280)) {
    await visit(g, hash, async (page) => {
      await page.locator('main svg').first().waitFor();
      await ready(page);
      await noFindings(page);
      await page.waitForTimeout(300);
      await shot(page, `${name}-${width}-${colorScheme}-${locale}`);
      if (!env.SHOTS) return;
      await (await page.context().newCDPSession(page)).send('Emulation.setEmulatedVisionDeficiency', { type: 'achromatopsia' });
      await shot(page, `${name}-grey-${colorScheme}`);
    }, { options: { viewport: { width, height: 1000 }, colorScheme, locale } });
  }
}
