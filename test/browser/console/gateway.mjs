// Gateways of the real binary, each on ports and a data directory of its own, and calls of their API.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { end, env, pause, running, work } from './stage.mjs';

/** Starts a gateway. With admin it needs keys, and g.key has every scope. */
export async function gateway(name, { admin = false, flags = [], data = join(work, name) } = {}) {
  const g = { data, flags, tcp: await freePort(), port: await freePort(), key: '' };
  g.http = `http://127.0.0.1:${g.port}`;
  if (admin) g.key = (await run(['keys', 'create', '--name', 'admin', '--scopes', 'admin', '--data-dir', g.data])).trim();
  await start(g);
  return g;
}

export async function start(g) {
  const args = ['serve', '--tcp-addr', `127.0.0.1:${g.tcp}`, '--http-addr', `127.0.0.1:${g.port}`, '--data-dir', g.data, ...g.flags];
  g.child = spawn(env.LONGWIRE, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: env.PATH, HOME: env.HOME } });
  running.add(g.child);
  let log = '';
  g.child.stderr.on('data', (data) => {
    log = (log + data).slice(-4000);
    if (env.VERBOSE) process.stderr.write(data);
  });
  for (let i = 0; i < 200 && g.child.exitCode === null; i++) {
    if (await fetch(g.http + '/livez').then((r) => r.ok, () => false)) return;
    await pause(100);
  }
  throw new Error('the gateway does not start: ' + log);
}

export const stop = (g) => end(g.child);

/** Calls the API as the gateway's admin, and returns the body of the answer. */
export async function api(g, method, path, body, { key = g.key } = {}) {
  const headers = { ...(body ? { 'Content-Type': 'application/json' } : {}), ...(key ? { Authorization: 'Bearer ' + key } : {}) };
  const response = await fetch(g.http + path, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

export async function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

/** Runs the binary to its end and returns what it prints. */
export function run(args, binary = env.LONGWIRE) {
  return new Promise((done, fail) => {
    const child = spawn(binary, args, { stdio: ['ignore', 'pipe', env.VERBOSE ? 'inherit' : 'ignore'] });
    let out = '';
    child.stdout.on('data', (data) => (out += data));
    child.on('exit', (code) => (code ? fail(new Error(`${args[0]} ended with ${code}`)) : done(out)));
  });
}
