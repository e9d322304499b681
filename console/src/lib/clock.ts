// The server's clock. Ages are computed against it, because the clock of the
// reader's machine may be minutes off.

let skew = 0 // milliseconds to add to this machine's clock

let asked = 0 // when the first question was asked that no answer came after

/** Notes that the gateway is asked something. */
export function asking(): void {
  asked ||= Date.now()
}

/** For how long the gateway has answered nothing that it was asked, in ms. */
export function silence(): number {
  return asked && Date.now() - asked
}

/** Forgets the questions of a page that is left. */
export function leave(): void {
  asked = 0
}

/** Takes the time that an answer carries. sentAt and receivedAt are this machine's clock in ms. */
export function observe(server: number, sentAt: number, receivedAt: number): void {
  asked = 0
  if (!Number.isFinite(server)) return
  const measured = server - (sentAt + receivedAt) / 2
  // The Date header has a resolution of a second, and was written at any time of the way: a smaller difference says nothing.
  if (Math.abs(measured - skew) > 1000 + (receivedAt - sentAt) / 2) skew = measured
}

/** The server's time in ms since 1970. */
export function now(): number {
  return Date.now() + skew
}

/** How far the reader's clock is from the server's, in ms; 0 below two seconds. */
export function difference(): number {
  return Math.abs(skew) < 2000 ? 0 : -skew
}
