// Live pages under a flood: the heap of the events page and of a client's timeline stays
// flat. As many events pass in the default time as in ten ordinary minutes.
//
// Environment: FLOOD_SECONDS, how long.
import assert from 'node:assert/strict';
import { acks, device } from './device.mjs';
import { api, gateway } from './gateway.mjs';
import { visit } from './page.mjs';
import { env, pause, play } from './stage.mjs';

const seconds = Number(env.FLOOD_SECONDS ?? 45);
const warmUp = Math.max(10, seconds / 10); // the pages' lists fill, and the browser compiles
const uplinks = 60; // a second
const pushes = 10; // a second

await play([[`${seconds} s of ${uplinks} uplinks and ${pushes} pushes a second`, flood, seconds + 90]]);

async function flood() {
  const g = await gateway('flood');
  const lamp = await device(g, 'lamp', { handle: acks });
  await visit(g, '#/events', async (events) => {
    await visit(g, '#/clients/lamp', async (client) => {
      const pages = [await heapOf('events', events), await heapOf('timeline', client)];
      const stop = rain(g, lamp);
      await pause(warmUp * 1000);
      for (const page of [events, client]) assert.ok((await page.locator('.live li').count()) > 100, 'the page shows no flood');
      const began = (await api(g, 'GET', '/v1/stats')).uplinks;
      for (const end = Date.now() + (seconds - warmUp) * 1000; Date.now() < end; ) {
        await pause(Math.min(((seconds - warmUp) * 1000) / 30, 5000));
        for (const page of pages) await page.sample();
      }
      await stop();
      const last = (await api(g, 'GET', '/v1/stats')).uplinks;
      console.log(`   ${last - began} uplinks passed while the heap was sampled`);
      for (const page of [events, client]) await page.getByRole('button', { name: 'live' }).waitFor();
      for (const page of pages) page.flat();
    });
  });
}

/** Sends uplinks and pushes until the returned function is called. */
function rain(g, lamp) {
  const beat = 1000 / pushes; // ms
  let pushing = null;
  const timer = setInterval(() => {
    for (let i = 0; i < (uplinks * beat) / 1000; i++) lamp.send(`{"n":${lamp.next},"temperature":${(20 + 5 * Math.random()).toFixed(1)}}`);
    pushing ??= api(g, 'POST', '/v1/clients/lamp/messages', { text: `set ${lamp.next}` }).finally(() => (pushing = null));
  }, beat);
  return () => {
    clearInterval(timer);
    return pushing;
  };
}

/** Samples the heap of a page after a collection of garbage. */
async function heapOf(name, page) {
  const tab = await page.context().newCDPSession(page);
  await tab.send('Performance.enable');
  const samples = [];
  return {
    async sample() {
      await tab.send('HeapProfiler.collectGarbage');
      const { metrics } = await tab.send('Performance.getMetrics');
      const of = (metric) => metrics.find((each) => each.name === metric).value;
      samples.push({ heap: of('JSHeapUsedSize') / 1e6, nodes: of('Nodes'), listeners: of('JSEventListeners') });
    },
    flat() {
      const third = Math.ceil(samples.length / 3);
      const middle = (list, what) => list.map((each) => each[what]).sort((a, b) => a - b)[Math.floor(list.length / 2)];
      const [first, last] = [samples.slice(0, third), samples.slice(-third)];
      const grown = middle(last, 'heap') - middle(first, 'heap');
      const peak = Math.max(...samples.map((each) => each.heap));
      console.log(`   ${name}: heap ${middle(first, 'heap').toFixed(1)} MB in the first third, ${middle(last, 'heap').toFixed(1)} MB in the last, ${peak.toFixed(1)} MB at most; ` +
        `nodes ${middle(first, 'nodes')}, ${middle(last, 'nodes')}; listeners ${middle(first, 'listeners')}, ${middle(last, 'listeners')}`);
      if (env.VERBOSE) console.log(samples.map((each) => `${each.heap.toFixed(2)} MB, ${each.nodes} nodes`).join('\n'));
      assert.ok(grown < 3, `the heap of ${name} grew by ${grown.toFixed(1)} MB`);
      assert.ok(middle(last, 'nodes') < 1.5 * middle(first, 'nodes') + 1000, `${name} has ever more nodes`);
    },
  };
}
