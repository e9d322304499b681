import { expect, test } from 'vitest'
import { audienceOf } from '../src/lib/audience.ts'
import { Typed } from '../src/lib/call.ts'
import { bodyOf } from '../src/lib/payload.ts'

test('an audience is named whole or not at all', () => {
  expect(audienceOf('client', ' ')).toBeNull()
  expect(audienceOf('client', ' a\n')).toEqual({ client: 'a' })
  expect(audienceOf('client', 'a\nb')).toEqual({ client: 'a\nb' }) // the gateway refuses it
  expect(audienceOf('group', 'a, b')).toEqual({ group: 'a, b' })
  expect(audienceOf('clients', ',')).toBeNull()
  expect(audienceOf('labels', 'odd=a=b, c\nsite=north')).toEqual({ labels: { odd: 'a=b, c', site: 'north' } })
  expect(audienceOf('clients', 'a\nb, a\n')).toEqual({ clients: ['a', 'b'] })
  expect(audienceOf('labels', 'site=north\nk=a=b')).toEqual({ labels: { site: 'north', k: 'a=b' } })
  expect(audienceOf('labels', 'site')).toBeNull()
  expect(audienceOf('labels', 'site=north\nsite=south')).toBeNull() // the later alone would reach others
  expect(audienceOf('labels', 'site=north\nsite=north')).toEqual({ labels: { site: 'north' } })
  expect(JSON.stringify(audienceOf('labels', 'a=1\n__proto__=2'))).toBe('{"labels":{"a":"1","__proto__":"2"}}')
  expect(audienceOf('all', '')).toEqual({ all: true })
})

test('a payload that is none is not sent as something else', () => {
  expect(bodyOf('text', '{').member).toEqual({ text: '{' })
  expect(bodyOf('json', '{').error).not.toBe('')
  expect(bodyOf('json', 'null').member).toEqual({ json: new Typed('null') })
  expect(bodyOf('hex', '00ff').member).toEqual({ base64: 'AP8=' })
  expect(bodyOf('hex', 'xyz').error).toBe('hex')
})
