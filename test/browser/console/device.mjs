// Devices that speak the text dialect, a line a message, and do what a test says.
import { connect } from 'node:net';

/**
 * Connects a device. handle takes the number and the payload of each delivery and returns
 * the line that answers it, such as "ACK 3 done"; without a line the delivery stays unanswered.
 */
export async function device(g, id, { token = '', handle = () => '' } = {}) {
  const socket = connect(g.tcp, '127.0.0.1');
  const it = { id, socket, lines: [], next: 1 };
  it.write = (line) => socket.write(line + '\n');
  it.send = (payload) => it.write(`DATA ${it.next++} ${payload}`);
  it.end = () => socket.destroy();
  socket.on('error', () => {});
  let rest = '';
  socket.setEncoding('utf8').on('data', (data) => {
    const lines = (rest + data).split('\n');
    rest = lines.pop();
    for (const line of lines) take(it, line, handle);
  });
  const answered = new Promise((done) => socket.once('data', done).once('close', done));
  it.write(`REGISTER ${id}${token ? ' ' + token : ''}`);
  await answered;
  it.registered = it.lines[0]?.startsWith('REGISTERED') ?? false;
  return it;
}

function take(it, line, handle) {
  if (line === 'PING') it.write('PONG');
  else if (!line.startsWith('ACK ')) it.lines.push(line);
  const delivery = /^DATA(?:64)? (\S+) ?(.*)$/.exec(line);
  const answer = delivery && handle(delivery[1], delivery[2]);
  if (answer) it.write(answer);
}

export const acks = (n) => `ACK ${n} done`;
export const rejects = (n) => `NAK ${n} jammed`;
