// Zone, language and theme: the menu that has them goes when the reader is done, and each
// tab of the browser follows. A reader chooses between a curve and its table.
import assert from 'node:assert/strict';
import { acks, device } from './device.mjs';
import { gateway } from './gateway.mjs';
import { visit } from './page.mjs';
import { play } from './stage.mjs';

let g;
await play([
  ['the menu goes', async () => menu((g = await gateway('choices')))],
  ['a choice holds in each tab', () => tabs(g)],
  ['curves and their tables', () => curves(g), 90],
]);

async function menu(g) {
  await visit(g, '#/clients', async (page) => {
    const summary = page.locator('details.menu summary');
    const panel = page.locator('details.menu .panel');
    const opened = async () => {
      await summary.click();
      await panel.waitFor();
    };
    await opened();
    await panel.getByLabel('Theme').focus();
    await page.keyboard.press('Escape');
    await panel.waitFor({ state: 'hidden' });
    assert.ok(await summary.evaluate((element) => element === document.activeElement), 'the focus is where it was before');

    await opened();
    await panel.getByLabel('Theme').selectOption('dark'); // a choice inside does not close it
    assert.ok(await panel.isVisible());
    await page.getByRole('heading', { name: 'Clients' }).click();
    await panel.waitFor({ state: 'hidden' });

    await opened();
    await page.evaluate(() => (location.hash = '#/events'));
    await page.getByRole('heading', { name: 'Events' }).waitFor();
    await panel.waitFor({ state: 'hidden' });
  });
}

async function tabs(g) {
  await visit(g, '#/clients', async (page) => {
    const other = await page.context().newPage();
    await other.goto(g.http + '/console/#/events');
    await other.getByRole('heading', { name: 'Events' }).waitFor();
    await page.locator('details.menu summary').click();
    await page.getByLabel('Theme').selectOption('dark');
    await other.waitForFunction(() => document.documentElement.dataset.theme === 'dark');
    await page.getByLabel('Times').selectOption('utc');
    await other.locator('details.menu summary', { hasText: 'UTC' }).waitFor();
    await page.getByLabel('Language').selectOption('zh');
    await other.getByRole('heading', { name: '事件' }).waitFor();
    await page.getByLabel('主题').selectOption('system');
    await other.waitForFunction(() => !('theme' in document.documentElement.dataset));
  });
}

async function curves(g) {
  await device(g, 'lamp', { handle: acks });
  await visit(g, '', async (page) => {
    const figure = page.locator('figure').first();
    await figure.waitFor({ timeout: 60_000 }); // two points are ten seconds
    const curve = figure.locator('svg path').last();
    assert.match(await curve.getAttribute('d'), /^M0 \d+L.*1000 0$/);
    assert.equal(await figure.locator('.high').innerText(), '0\n0.5\n1');
    const colour = () => curve.evaluate((path) => getComputedStyle(path).stroke);
    const light = await colour();
    await page.emulateMedia({ colorScheme: 'dark' });
    assert.notEqual(await colour(), light);
    await figure.getByRole('button', { name: 'As a table' }).click();
    await figure.locator('tbody tr').nth(1).waitFor();
    await figure.getByRole('button', { name: 'As a curve' }).click();
    await curve.waitFor({ state: 'attached' });
  });
}
