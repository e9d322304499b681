// A million clients: the list shows the right row wherever it is scrolled, soon, in
// little memory, and Back returns to the row.
//
// Environment: CROWD, the binary that makes the clients; ROWS, how many rows to scroll
// through by wheel.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gateway, run } from './gateway.mjs';
import { shot, visit } from './page.mjs';
import { browser, env, play, until, work } from './stage.mjs';

const clients = 1_000_000;
const rows = Number(env.ROWS ?? 20_000);
const rowHeight = 32;
const idOf = (index) => `device-${String(index).padStart(7, '0')}`;

let g;
await play([
  ['a million clients are made', makeThem, 120],
  [`${rows.toLocaleString('en')} rows by wheel`, byWheel, 60 + rows / 200],
  ['jumps, and Back to the row', byJump],
]);

async function makeThem() {
  const data = join(work, 'crowd');
  await run([data, String(clients)], env.CROWD);
  g = await gateway('crowd', { data });
}

async function byWheel() {
  await visit(g, '#/clients', async (page) => {
    const list = await listOf(page);
    await until('the first rows are here', () => list.at());
    const waits = [];
    for (let want = 200; want < rows; want += 200) {
      await list.wheelTo(want, waits);
      assert.equal((await list.at()).id, idOf(want));
    }
    soon('a row by wheel', waits);
    await shot(page, 'clients-1m');
    await small(page);
  });
}

async function byJump() {
  await visit(g, '#/clients', async (page) => {
    const list = await listOf(page);
    const waits = [];
    for (let i = 1; i <= 30; i++) {
      const index = (i * 618_033) % clients;
      const began = performance.now();
      await page.getByLabel('Jump to id').fill(idOf(index));
      await page.keyboard.press('Enter');
      await list.shows(idOf(index));
      waits.push(performance.now() - began);
      for (const there of [index + 200, index - 200].filter((each) => each > 0 && each < clients - 100)) {
        await list.wheelTo(there, []);
        assert.equal((await list.at()).id, idOf(there));
      }
    }
    soon('a row by jump', waits);

    const { id } = await list.at();
    await page.waitForFunction((id) => location.hash.includes('from=' + id), id); // the address follows the scroll
    await page.getByRole('link', { name: id }).click();
    await page.getByRole('heading', { level: 1 }).filter({ hasText: id }).waitFor();
    await page.goBack();
    await list.shows(id);
    const index = Number(id.slice(-7));
    await list.wheelTo(index - 1000, []); // the list goes on upwards, too
    assert.equal((await list.at()).id, idOf(index - 1000));
    await small(page);
  });
}

/** The list of the page, with the pointer on its first row. */
async function listOf(page) {
  const box = page.getByRole('grid');
  await box.waitFor();
  const { x, y } = await box.boundingBox();
  const point = { x: x + 200, y: y + rowHeight / 2 };
  await page.mouse.move(point.x, point.y);
  await page.evaluate(watchRows, point);
  const at = () => page.evaluate(() => window.rowNow());
  return {
    at,
    shows: (id) => until(`${id} is under the pointer`, async () => (await at())?.id === id),
    // The list ends where its last page does, so it may take a second wheel to get further.
    async wheelTo(index, waits) {
      for (let tries = 0; tries < 50; tries++) {
        const row = await until('a row is under the pointer', at);
        const way = index - Number(row.id.slice(-7));
        if (way === 0) return;
        await page.mouse.wheel(0, way * rowHeight);
        waits.push(await page.evaluate(() => window.rowAfterWheel()));
      }
      assert.fail(`row ${index} was not reached, but ${(await at())?.id}`);
    },
  };
}

/** Runs in the page: which row is under the point, and how long after a wheel it has its client. */
function watchRows({ x, y }) {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  let wheeled = 0;
  addEventListener('wheel', (event) => (wheeled = event.timeStamp), { capture: true, passive: true });
  window.rowNow = () => {
    const row = document.elementFromPoint(x, y)?.closest('.row');
    const id = row?.querySelector('[data-client]')?.dataset.client;
    return id ? { id } : null;
  };
  // The page is still when two frames in a row have the same client.
  window.rowAfterWheel = async () => {
    const before = wheeled;
    let last = null;
    for (const end = performance.now() + 5000; performance.now() < end; ) {
      await frame();
      const now = window.rowNow();
      if (now && last && now.id === last.id) return last.at - before;
      last = now && { ...now, at: performance.now() };
    }
    return 5000;
  };
}

/** Reports how long rows took. They should take 300 ms; a machine that does other work may take far longer. */
function soon(what, waits) {
  waits.sort((a, b) => a - b);
  const part = (share) => Math.round(waits[Math.min(waits.length - 1, Math.floor(share * waits.length))]);
  console.log(`   ${what}: p50 ${part(0.5)} ms, p99 ${part(0.99)} ms, max ${part(1)} ms, of ${waits.length}`);
  assert.ok(part(0.5) < 600 && part(0.99) < 4000, `${what} takes too long`);
}

/** The memory of the tab: its script's, and that of its process. */
async function small(page) {
  const tab = await page.context().newCDPSession(page);
  await tab.send('HeapProfiler.collectGarbage');
  const { usedSize } = await tab.send('Runtime.getHeapUsage');
  const whole = await browser.newBrowserCDPSession();
  const { processInfo } = await whole.send('SystemInfo.getProcessInfo');
  await whole.detach();
  const sizes = processInfo.filter((each) => each.type === 'renderer').map(({ id }) => memoryOf(id));
  const { rss, own } = sizes.sort((a, b) => b.own - a.own)[0];
  console.log(`   memory: script ${mb(usedSize)}, process ${mb(own)} of its own, ${mb(rss)} with what it shares`);
  assert.ok(own < 200e6, `the tab has ${mb(own)}`);
}

function mb(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function memoryOf(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const of = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)[1]) * 1024;
  return { rss: of('Rss'), own: of('Private_Dirty') + of('Private_Clean') };
}
