// Devices. Most speak the text dialect, a line a message, and do what a test says.
import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { api } from './gateway.mjs';
import { env, running, until } from './stage.mjs';

/**
 * Connects a device. handle takes the number and the payload of each delivery, and the device, and returns
 * the line that answers it, such as "ACK 3 done"; without a line the delivery stays unanswered.
 * A device that is made quiet answers no heartbeat.
 */
export async function device(g, id, { token = '', handle = () => '' } = {}) {
  const socket = connect(g.tcp, '127.0.0.1');
  const it = { id, socket, lines: [], next: 1, quiet: false };
  it.write = (line) => socket.write(line + '\n');
  it.send = (payload) => it.write(`DATA ${it.next++} ${payload}`);
  it.end = () => socket.destroy();
  it.ended = new Promise((done) => socket.once('close', done));
  socket.on('error', () => {});
  let rest = '';
  socket.setEncoding('utf8').on('data', (data) => {
    const lines = (rest + data).split('\n');
    rest = lines.pop();
    for (const line of lines) take(it, line, handle);
  });
  const answered = new Promise((done) => socket.once('data', done).once('close', done));
  it.write(`REGISTER ${id} ${token || '-'}`);
  await answered;
  it.registered = it.lines[0]?.startsWith('REGISTERED') ?? false;
  return it;
}

function take(it, line, handle) {
  if (line === 'PING' && it.quiet) return;
  if (line === 'PING') it.write('PONG');
  else if (!line.startsWith('ACK ')) it.lines.push(line);
  const delivery = /^DATA(?:64)? (\S+) ?(.*)$/.exec(line);
  const answer = delivery && handle(delivery[1], delivery[2], it);
  if (answer) it.write(answer);
}

export const acks = (n) => `ACK ${n} done`;
export const rejects = (n) => `NAK ${n} jammed`;

/** Connects the device of the binary, which speaks v2 and acks: it takes payloads of every size. */
export async function large(g, id, result) {
  const args = ['connect', '--id', id, '--addr', `127.0.0.1:${g.tcp}`, '--result', result];
  running.add(spawn(env.LONGWIRE, args, { stdio: 'ignore' }));
  await until(`${id} is online`, () => api(g, 'GET', '/v1/clients/' + id).then((client) => client.online, () => false));
}
