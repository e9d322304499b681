import { gateway, api, run, stop, start } from './gateway.mjs'; import { visit, fits, noFindings, login } from './page.mjs'; import { play, pause, env, work } from './stage.mjs';
import { device, large, acks, rejects } from './device.mjs';
const X=[/./]; const say=(...a)=>console.log(...a); const S='/tmp/con15/s/';
const alert=async (p)=>{ await pause(600); return (await p.locator('.failed, [role=alert]').allInnerTexts()).map(t=>t.replace(/\n+/g,' / ').slice(0,200)).join(' || ') };
await play([['writes', async () => {
  const g = await gateway('a', {flags:[]}); const dev = await device(g, 'gate-1', { handle: ()=>'' }); for (let i=0;i<3;i++) await api(g,'POST','/v1/clients/gate-1/messages',{text:'x'+i});
  const hook = await api(g,'POST','/v1/webhooks',{url:'http://127.0.0.1:9/x'}); const m=(await api(g,'GET','/v1/messages')).items[0];
  const a = {status:503, contentType:'application/problem+json', headers:{'X-Request-Id':'req-1','Retry-After':'1'}, body: JSON.stringify({type:'/docs/problems/store-unavailable', title:'Store unavailable', status:503, detail:'may or may not'})};
  const block = (page) => page.route('**/v1/**', (route) => route.request().method()==='GET' || route.request().url().includes('/session') ? route.continue() : route.fulfill(a));
  const abort = (page) => page.route('**/v1/**', (route) => route.request().method()==='GET' || route.request().url().includes('/session') ? route.continue() : route.abort());
  // real 4xx
  await visit(g,'#/webhooks', async (page)=>{ await page.getByRole('button',{name:'New webhook'}).click(); for (const [u,t] of [['ftp://x/',''],['http://ok/','nonsense.*']]) { await page.getByLabel('URL').fill(u); await page.getByLabel('Types').fill(t); await page.locator('dialog button.first').click(); await pause(500); say('hook4xx',u,t,(await page.locator('dialog').innerText().catch(()=>'closed')).replace(/\n+/g,' / ')); } },{expected:X});
  await visit(g,'#/keys', async (page)=>{ await page.getByRole('button',{name:'New key'}).click(); await page.getByLabel('Name').fill('x\u202e'); await page.locator('dialog input[placeholder="720h"]').fill('soon'); await page.locator('dialog button.first').click(); await pause(500); say('key4xx',(await page.locator('dialog').innerText()).replace(/\n+/g,' / ').slice(-250)); },{expected:X});
  await visit(g,'#/clients/gate-1', async (page)=>{ await page.locator('.why').waitFor(); await page.locator('#send').fill('hi'); await page.locator('.ttl input').fill('banana'); await page.locator('#send').press('Enter'); say('ttl', await alert(page)); await page.getByRole('button',{name:'Change labels'}).click(); await page.getByLabel('Name').last().fill('a b'); await page.getByLabel('Value').last().fill('x'); await page.getByRole('button',{name:'Save'}).click(); await pause(400); say('labels', (await page.locator('dialog .failed').innerText()).replace(/\n+/g,' / ')) },{expected:X});
  await visit(g,'#/events?types=nonsense', async (page)=>{ await pause(900); say('ev', (await page.locator('main').innerText()).replace(/\n+/g,' / ')); },{expected:X});
  await visit(g,'#/clients?queued_gt=abc', async (page)=>{ await pause(900); say('cl', (await page.locator('main').innerText()).replace(/\n+/g,' / ')); },{expected:X});
  await visit(g,'#/messages?client=a b', async (page)=>{ await pause(900); say('ms', (await page.locator('main').innerText()).replace(/\n+/g,' / ')); },{expected:X});
  await visit(g,'#/clients/a%20b', async (page)=>{ await pause(900); say('cl', (await page.locator('main').innerText()).replace(/\n+/g,' / ')); },{expected:X});
  await visit(g,'#/clients/%E0%A4%A', async (page)=>{ await pause(900); say('cl', (await page.locator('main').innerText()).replace(/\n+/g,' / ')); },{expected:X});
  await visit(g,'#/clients/..', async (page)=>{ await pause(900); say('dots', (await page.locator('main').innerText()).replace(/\n+/g,' / ').slice(0,300)); },{expected:X});
  await visit(g,'#/messages/..%2Fclients', async (page)=>{ await pause(900); say('dots', (await page.locator('main').innerText()).replace(/\n+/g,' / ').slice(0,300)); },{expected:X});
}, 200]]);
