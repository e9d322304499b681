// English sentences for the codes of why, of findings and of timelines. {name} is a fact
// of the answer; a part in brackets is left out without its fact.

import type { components } from '../lib/schema.d.ts'

type Schemas = components['schemas']

const messageWhy: Record<Schemas['MessageWhyCode'], string> = {
  client_never_connected: '{client} has never connected[; it expires in {expires_in_seconds}].',
  client_offline: '{client} is offline[ since {offline_since}][: {by}][ ({reason})][; it expires in {expires_in_seconds}].',
  client_blocked: 'An operator has blocked {client}[ until {blocked_until}][; it expires in {expires_in_seconds}].',
  client_refused: '{client} was refused {refused_count} times, the last time at {refused_at}: {refused_reason}.',
  sent_then_offline: 'It was sent[ at {sent_at}], and {client} went offline before it answered[: {by}].',
  client_suspect: 'It was sent[ at {sent_at}]. {client} is connected and does not answer[; its last word came at {last_seen_at}].',
  sent_not_acked: 'It was sent at {sent_at}. {client} has not answered yet.',
  resent_not_acked: 'It was sent {attempts} times, the last time at {sent_at}. {client} has not answered.',
  retry_later: '{client} asked to have it later, {retry_later} times[ since {retry_since}][; the next attempt is at {next_at}].',
  working: '{client} works on it[ since {working_at}].',
  asked_not_answered: 'The gateway asked {client}[ at {asked_at}] whether it has handled it, and has no answer.',
  wrong_number_space: '{client} acked a number that it has not got[ at {misacked_at}]. It may ack in another number space.',
  online_waits: 'The online message was sent[ at {sent_at}], and the caller waits for the answer.',
  window_full: '{client} has {in_flight} unanswered messages, as many as it takes at once[. The first is {behind}].',
  behind_ask: 'The gateway first asks {client} about earlier messages.',
  paced: 'It is sent at the rate of its message to many[; the next at {next_at}].',
  rollout: 'It waits for its turn in a message to many.',
  not_reading: '{client} does not read: {unwritten_bytes} wait in its connection.',
  about_to_send: 'It is about to be sent.',
  acked: '{client} acked it[ at {final_at}].',
  verdict_not_kept: '{client} has handled it and does not know the result any more.',
  late_ack: '{client} answered[ at {late_ack_at}], after it was {status}.',
  rejected: '{client} rejected it[ at {final_at}][: {result}].',
  too_large: 'The payload is too large for what {client} speaks.',
  expired_unsent: 'It expired[ at {final_at}] without being sent.',
  expired_sent: 'It expired[ at {final_at}]. It was sent {attempts} times and not answered.',
  expired_retry_later: 'It expired[ at {final_at}]. {client} had asked to have it later, {retry_later} times.',
  expired: 'It expired[ at {final_at}]. Whether it was sent is not known any more.',
  canceled: 'A caller canceled it[ at {final_at}].',
  queue_canceled: 'The queue of {client} was canceled[ at {final_at}].',
  client_forgotten: '{client} was forgotten[ at {final_at}].',
  attempts_used_up: 'All {attempts} attempts were used up.',
  unknown_client: '{client} was not known.',
  too_many_clients: 'The gateway knows as many clients as it may.',
  queue_full: 'The queue of {client} was full.',
  online_no_ack: '{client} did not answer in time.',
  online_wrong_number_space: '{client} acked a number that it has not got.',
  online_connection_lost: 'The connection of {client} broke before its answer.',
  online_not_sent: 'It was not sent.',
  online_gateway_restart: 'The gateway was restarted before the answer.',
  online_draining: 'The gateway was stopping.',
  many_pending: '{final} of {total} are final: {acked} acked, {queued} queued, {sent} sent.',
  many_completed: 'All {total} are final: {acked} acked, {rejected} rejected, {expired} expired, {failed} failed, {canceled} canceled.',
}

const clientWhy: Record<Schemas['ClientWhyCode'], string> = {
  online: 'Online[ since {online_since}].',
  online_flapping: 'Online[ since {online_since}]. It connected {takeovers} times in the last minutes[, from {claimed_from}].',
  online_twin_refused: 'Online[ since {online_since}]. Another device with this id was refused {refused_count} times.[ The id was claimed from {claimed_from}.]',
  online_suspect: 'Connected[ since {online_since}], and it does not answer[; its last word came at {last_seen_at}].',
  online_unstable: 'Online[ since {online_since}]. Its connections do not last: {disconnects} ended[ since {disconnects_since}].',
  never_connected: 'It has never connected.',
  closed_by_device: 'Offline[ since {offline_since}]: the device closed the connection ({reason}).',
  closed_by_gateway: 'Offline[ since {offline_since}]: the gateway closed the connection ({reason}).',
  closed_by_network: 'Offline[ since {offline_since}]: the network closed the connection ({reason}).',
  closed_by_operator: 'Offline[ since {offline_since}]: an operator closed the connection.',
  blocked: 'An operator has blocked it[ until {blocked_until}].',
  refused: 'It was refused {refused_count} times, the last time at {refused_at}: {refused_reason}.',
  forgotten: 'It was forgotten[ at {forgotten_at}].',
}

const finding: Record<Schemas['FindingCode'], string> = {
  store_unavailable: 'The store accepts no messages[: {cause}].',
  disk_nearly_full: 'The disk of the store is nearly full: {free_bytes} of {total_bytes} are free.',
  store_repaired: 'The store continues from a repair. The newest messages and answers may be lost.',
  sync_too_fast: 'The disk confirms a write in {p50_us} µs, which is too fast to be true. A power cut may lose messages.',
  clock_step: "The gateway's clock was set by {by_seconds}.",
  devices_refused: '{count} devices are refused[. The last is {client}: {reason}].',
  clients_flapping: '{count} clients connect and disconnect again and again[, such as {client}].',
  duplicate_ids: '{count} ids are claimed by two devices in turn[, such as {client}].',
  devices_silent: '{count} devices missed their heartbeats and have not come back[, such as {client}].',
  queue_old: 'The oldest queued message waits since {oldest_at}. {count} deliveries are queued.',
  uplinks_unread: '{count} uplinks were read by no backend.',
  webhook_failing: 'A webhook does not reach its endpoint[: {last_error}].',
  webhook_disabled: 'A webhook is disabled[: {cause}].',
  consumer_behind: 'The consumer {name} is {lag} events behind.',
  certificate_expiring: 'The certificate of {listener} expires at {expires_at}.',
  key_expiring: 'The key {name} expires at {expires_at}.',
  clients_full: '{count} clients are known, and there may be {limit}.',
  traces_left: 'A trace keeps every frame of {client}[ until {ends_at}].',
  connections_full: '{count} devices are connected, and there may be {limit}.',
}

const frame: Record<Schemas['FrameType'], string> = {
  register: 'registration',
  register_ack: 'registration accepted',
  heartbeat: 'heartbeat',
  heartbeat_ack: 'heartbeat answered',
  data: 'data',
  ask: 'question about a delivery',
  ack: 'ack',
  close: 'close',
  error: 'error',
  blank: 'empty line',
  malformed: 'not a frame',
}

const step: Record<Schemas['DeliveryStep'], string> = {
  queued: 'queued',
  sent: 'sent',
  unanswered: 'not answered',
  retry_later: 'asked for later',
  working: 'works on it',
  not_handled: 'not handled yet',
  late_ack: 'late ack',
  acked: 'acked',
  rejected: 'rejected',
  expired: 'expired',
  canceled: 'canceled',
  failed: 'failed',
  unknown: 'unknown',
}

const history: Record<Schemas['HistoryCode'], string> = {
  accepted: 'accepted',
  sent: 'sent',
  sent_on_earlier_connection: 'sent on an earlier connection',
  asked: 'asked whether it was handled',
  retry_later: 'the device asked for later',
  working: 'the device works on it',
  wrong_number_space: 'acked in a wrong number space',
  acked: 'acked',
  rejected: 'rejected',
  expired: 'expired',
  canceled: 'canceled',
  failed: 'failed',
  unknown: 'unknown',
  late_ack: 'late ack',
}

const kind: Record<Schemas['TimelineKind'], string> = {
  connected: 'connected',
  refused: 'refused',
  closed: 'closed',
  frame: 'frame',
  heartbeats: 'heartbeats',
  heartbeat_missed: 'heartbeat missed',
  delivery: 'delivery',
  overflow: 'some lines are missing',
}

const damage: Record<Schemas['DamageReason'], string> = {
  log_damaged: 'the log was damaged',
  log_missing: 'a part of the log was missing',
  log_short: 'the log was too short',
  mark_lost: 'the marker was lost',
}

/** Reasons of timelines that no other list has. */
const detail: Record<Exclude<Schemas['TimelineReason'], Schemas['CloseReason'] | Schemas['RefusalReason'] | Schemas['DeliveryReason']>, string> = {
  tls_required: 'TLS is required',
  tls_unsupported: 'the gateway has no TLS',
  not_registered: 'it was not registered',
  overloaded: 'the gateway had too much to do',
  invalid_utf8: 'not UTF-8',
  http_request: 'an HTTP request',
  proxy_unexpected: 'an unexpected PROXY header',
  unknown_command: 'an unknown command',
  unauthorized: 'not authorized',
}

const mark: Record<Schemas['StatsMark']['code'], string> = {
  start: 'the gateway started',
  begin: 'counting began',
  gap: 'a gap of {by_seconds}',
  clock_step: 'the clock was set by {by_seconds}',
}

export const codes = {
  messageWhy,
  clientWhy,
  finding,
  frame,
  step,
  history,
  kind,
  damage,
  detail,
  mark,
  severity: { critical: 'Critical', warning: 'Warning', info: 'Note' } as Record<Schemas['Finding']['severity'], string>,
  event: {
    'client.connected': 'connected',
    'client.disconnected': 'disconnected',
    'client.replaced': 'replaced',
    'client.forgotten': 'forgotten',
    'message.queued_for_absent': 'queued, absent',
    'message.received': 'uplink',
    'message.acked': 'acked',
    'message.rejected': 'rejected',
    'message.expired': 'expired',
    'message.canceled': 'canceled',
    'message.failed': 'failed',
    'message.late_ack': 'late ack',
    'message.completed': 'completed',
    'group.changed': 'groups changed',
    'webhook.disabled': 'webhook disabled',
    'store.repaired': 'store repaired',
    gap: 'gap',
    overflow: 'overflow',
  } as Record<string, string>,
}
