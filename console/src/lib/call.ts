// Calls of /v1. Every request of the console goes through here, and the command that
// "copy as curl" gives is made from the same description of the request.

import { asking, observe } from './clock.ts'
import type { components } from './schema.d.ts'

export type Problem = components['schemas']['Problem']
export type Value = string | number | boolean | undefined | readonly string[]

export interface Call {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** The path below the gateway, such as /v1/clients. */
  path: string
  query?: Record<string, Value>
  body?: unknown
  /** The Idempotency-Key of a push, so that a repeat is the same push. */
  key?: string
}

/** Why a call has no answer that can be used. */
export class Failure extends Error {
  constructor(
    /** The HTTP status; 0 when no answer came. */
    readonly status: number,
    readonly problem: Problem | null,
    /** The id of the request in the gateway's log and audit; empty when no answer came. */
    readonly request: string,
    /** Seconds until a retry makes sense; 0 when the gateway did not say. */
    readonly retryAfter: number,
  ) {
    super(problem?.title ?? (status ? `HTTP ${status}` : 'no answer'))
  }

  /** The last part of the problem's type, such as client-not-found; empty without a problem. */
  get code(): string {
    return this.problem?.type.split('/').at(-1) ?? ''
  }
}

/** What a call threw, as a Failure. */
export function asFailure(error: unknown): Failure {
  return error instanceof Failure ? error : new Failure(0, null, '', 0)
}

/** The address of the gateway: the folder that holds the console's folder. */
export function base(location: { origin: string; pathname: string }): string {
  const folder = location.pathname.replace(/[^/]*$/, '').replace(/\/$/, '')
  return location.origin + folder.replace(/\/[^/]*$/, '')
}

export function target(call: Call): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(call.query ?? {})) {
    if (value === undefined || value === '' || value === false) continue
    for (const each of Array.isArray(value) ? value : [value]) query.append(name, String(each))
  }
  const text = query.toString()
  return call.path + (text ? '?' + text : '')
}

/** Called when the gateway refuses the session, so that the page can ask for a key. */
export const session = { lost: () => {}, bearer: '' }

function headers(call: Call): Record<string, string> {
  const out: Record<string, string> = { 'Longwire-Console': '1', Accept: 'application/json' }
  if (call.body !== undefined) out['Content-Type'] = 'application/json'
  if (call.key) out['Idempotency-Key'] = call.key
  if (session.bearer) out['Authorization'] = 'Bearer ' + session.bearer
  return out
}

/** JSON that somebody typed. It goes out letter by letter: JSON.parse would change 9007199254740993 and 1e400. */
export class Typed {
  constructor(readonly json: string) {}
}

/** The body of a call as JSON. A Typed stands in it at the top, or as a member. */
export function encode(body: unknown): string {
  if (body instanceof Typed) return body.json
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return JSON.stringify(body)
  const members = Object.entries(body).filter(([, value]) => value !== undefined)
  return '{' + members.map(([name, value]) => JSON.stringify(name) + ':' + encode(value)).join() + '}'
}

/** Makes one call and returns its body. Throws a Failure, or the AbortError of the signal. */
export async function call<T>(request: Call, signal?: AbortSignal): Promise<T> {
  const body = await text(request, signal)
  return (body ? JSON.parse(body) : undefined) as T
}

/** Makes one call and returns its body as it came. */
export async function text(call: Call, signal?: AbortSignal): Promise<string> {
  return (await respond(call, signal)).text()
}

/** Makes one call and returns the bytes of its body. */
export async function bytes(call: Call, signal?: AbortSignal): Promise<Uint8Array> {
  return new Uint8Array(await (await respond(call, signal)).arrayBuffer())
}

async function respond(call: Call, signal?: AbortSignal): Promise<Response> {
  const sent = Date.now()
  const init: RequestInit = { method: call.method ?? 'GET', headers: headers(call), credentials: 'same-origin', cache: 'no-store', redirect: 'error' }
  if (call.body !== undefined) init.body = encode(call.body)
  if (signal) init.signal = signal
  let response: Response
  asking()
  try {
    response = await fetch(base(location) + target(call), init)
  } catch (error) {
    if (signal?.aborted) throw error
    throw new Failure(0, null, '', 0)
  }
  observe(Date.parse(response.headers.get('Date') ?? ''), sent, Date.now())
  if (!response.ok) throw await failure(response)
  return response
}

/** Reads the failure that a response tells. */
export async function failure(response: Response): Promise<Failure> {
  let problem: Problem | null = null
  try {
    const body = await response.json()
    if (typeof body?.type === 'string' && typeof body.title === 'string') problem = body as Problem
  } catch {
    // A proxy between may answer with a page of its own: the status says enough.
  }
  const failed = new Failure(response.status, problem, response.headers.get('X-Request-Id') ?? '', Number(response.headers.get('Retry-After')) || 0)
  if (failed.status === 401) session.lost()
  return failed
}

/** A new value for Idempotency-Key. randomUUID is missing on plain HTTP. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('')
}

function quote(text: string): string {
  return "'" + text.replaceAll("'", `'\\''`) + "'"
}

/** The call as a curl command. The key is the reader's: $LONGWIRE_KEY. */
export function asCurl(call: Call, gateway: string): string {
  const parts = ['curl -sS']
  const method = call.method ?? 'GET'
  if (method !== 'GET') parts.push('-X ' + method)
  parts.push('-H "Authorization: Bearer $LONGWIRE_KEY"')
  if (call.key) parts.push('-H ' + quote('Idempotency-Key: ' + call.key))
  if (call.body !== undefined) parts.push("-H 'Content-Type: application/json'", '-d ' + quote(encode(call.body)))
  parts.push(quote(gateway + target(call)))
  return parts.join(' \\\n  ')
}
