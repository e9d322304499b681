// The browser, the folder and the processes of one test file, and what plays its scenes.
//
// Environment: LONGWIRE, the binary; SHOTS, a folder for screenshots (none without it);
// CHROMIUM, the browser (default /usr/bin/chromium); VERBOSE, to see what the gateways log.
import { mkdtempSync, mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

export const { env } = process;
export const work = mkdtempSync(join(tmpdir(), 'console-'));
/** Child processes that play ends. */
export const running = new Set();
if (env.SHOTS) mkdirSync(env.SHOTS, { recursive: true });

// gateway.test and other.test are this machine under names that are no secure context.
export const browser = await chromium.launch({
  executablePath: env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--host-resolver-rules=MAP *.test 127.0.0.1'],
});

/** Plays scenes one after another, [name, scene, seconds that it may take], and ends what they started. */
export async function play(scenes) {
  try {
    for (const [name, scene, seconds = 60] of scenes) {
      const began = performance.now();
      await within(seconds, name, scene());
      console.log(`ok ${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s  ${name}`);
    }
  } finally {
    await browser.close();
    await Promise.all(Array.from(running, (child) => end(child)));
    rmSync(work, { recursive: true, force: true });
  }
}

/** Ends a process, and waits until it has ended. */
export async function end(child) {
  running.delete(child);
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((done) => child.once('exit', done));
  child.kill('SIGTERM');
  await ended;
}

async function within(seconds, name, scene) {
  let timer;
  const late = new Promise((_, fail) => (timer = setTimeout(() => fail(new Error(`${name}: not done after ${seconds} s`)), seconds * 1000)));
  try {
    await Promise.race([scene, late]);
  } finally {
    clearTimeout(timer);
  }
}

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits until a question is answered with something true, and returns it. */
export async function until(what, ask, seconds = 15) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await pause(50)) {
    const answer = await ask();
    if (answer) return answer;
  }
  throw new Error(`gave up waiting until ${what}`);
}
