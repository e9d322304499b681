import { href } from './route.ts'
import type { components } from './schema.d.ts'

type Finding = components['schemas']['Finding']

/** Where a finding's one action leads; empty when there is none within the console. */
export function actionOf(finding: Finding): string {
  const facts = finding.facts as Record<string, unknown>
  const client = typeof facts['client'] === 'string' ? facts['client'] : ''
  switch (finding.code) {
    case 'devices_refused':
    case 'registrations_invalid':
      return href('refused')
    case 'clients_flapping':
    case 'duplicate_ids':
    case 'just_started':
    case 'devices_silent':
    case 'uplinks_refused':
    case 'traces_left':
      return client ? href('clients', client) : href('clients', '', { status: 'offline' })
    case 'queue_old':
      return href('clients', '', { queued_gt: '0' })
    case 'uplinks_unread':
      return href('uplinks')
    case 'webhook_failing':
    case 'webhook_clients_parked':
    case 'webhook_disabled':
      return href('webhooks', typeof facts['id'] === 'string' ? facts['id'] : '')
    case 'key_expiring':
      return href('keys')
    default:
      return ''
  }
}
