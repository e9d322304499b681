import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { asCurl, base, encode, target } from '../src/lib/call.ts'
import { bodyOf } from '../src/lib/payload.ts'

test('the gateway is the folder above the console', () => {
  expect(base({ origin: 'http://h:8080', pathname: '/console/' })).toBe('http://h:8080')
  expect(base({ origin: 'https://h', pathname: '/lw/console/index.html' })).toBe('https://h/lw')
})

test('a query leaves out what is not set', () => {
  expect(target({ path: '/v1/clients', query: { status: undefined, prefix: '', all: false, limit: 10, id: ['a', 'b&c'] } })).toBe('/v1/clients?limit=10&id=a&id=b%26c')
})

test('the curl command carries exactly the request, whatever the payload', () => {
  const text = `it's "$HOME" \`id\` \\ \n 锁`
  const command = asCurl({ method: 'POST', path: '/v1/messages', key: 'k1', body: { to: { all: true }, text } }, 'http://h')
  // The shell reads the command as curl would get it.
  const args = execFileSync('sh', ['-c', 'LONGWIRE_KEY=secret; curl() { for a; do printf "%s\\0" "$a"; done; }; ' + command]).toString().split('\0').slice(0, -1)
  expect(args).toEqual(['-sS', '-X', 'POST', '-H', 'Authorization: Bearer secret', '-H', 'Idempotency-Key: k1', '-H', 'Content-Type: application/json', '-d', JSON.stringify({ to: { all: true }, text }), 'http://h/v1/messages'])
})

test('typed JSON goes out letter by letter', () => {
  for (const json of ['9007199254740993', '1e400', '-0', '1.0', '{"a": 1, "a": 2}', '0.1000000000000000055']) {
    const body = { to: { all: true }, ...bodyOf('json', json).member, ttl: undefined }
    expect(asCurl({ method: 'POST', path: '/v1/messages', body }, 'http://h')).toContain(`-d '{"to":{"all":true},"json":${json}}'`)
  }
  expect(bodyOf('json', '{').error).not.toBe('')
  for (const body of [{}, [], [1, { a: undefined }], 'é', 7, null, { a: { b: [true], c: undefined }, '"': {} }]) expect(encode(body)).toBe(JSON.stringify(body))
})
