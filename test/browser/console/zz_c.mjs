import { gateway, api, run, stop, start } from './gateway.mjs'; import { visit, fits, noFindings, login } from './page.mjs'; import { play, pause, env, work } from './stage.mjs';
import { device, large, acks, rejects } from './device.mjs';
const X=[/./]; const say=(...a)=>console.log(...a); const S='/tmp/con15/s/';
const main=(p)=>p.locator('main').last().innerText().then(t=>t.replace(/\n+/g,' / ').slice(0,260));
await play([['reads', async () => {
  const g = await gateway('a'); const dev = await device(g, 'gate-1', { handle: acks }); const m = await api(g,'POST','/v1/clients/gate-1/messages',{text:'x'});
  const hook = await api(g,'POST','/v1/webhooks',{url:'http://127.0.0.1:9/x'});
  const ans = { html502: {status:502, contentType:'text/html', body:'<h1>Bad</h1>'}, html200: {status:200, contentType:'text/html', body:'<h1>Login</h1>'}, p500: {status:500, contentType:'application/problem+json', headers:{'X-Request-Id':'req-1'}, body: JSON.stringify({type:'/docs/problems/internal', title:'Internal error', status:500, detail:'d'})}, p429: {status:429, headers:{'Retry-After':'3'}, contentType:'application/problem+json', body: JSON.stringify({type:'/docs/problems/rate-limited', title:'Too many requests', status:429})} };
  for (const r of ['','#/clients','#/clients/gate-1','#/messages','#/messages/'+m.id,'#/events','#/uplinks','#/audit','#/keys','#/refused','#/webhooks','#/webhooks/'+hook.id]) for (const [n,a] of Object.entries(ans)) {
    await visit(g, r, async (page) => {
      await page.route(/\/v1\/(?!session)/, (route) => route.fulfill(a)); await page.reload();
      await pause(900); say(r.slice(0,14), n, '=>', await main(page));
    }, {expected:X}).catch(e=>say(r,n,'ERR',e.message.slice(0,200)));
  }
}, 200]]);
