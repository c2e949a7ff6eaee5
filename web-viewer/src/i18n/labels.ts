/** Words for the codes that the server sends; an unknown code is shown as it came. */
import type { Alert, GapCause, Interaction, LiveState, Me, Stream, Understood } from '../api/types';
import { m } from '../paraglide/messages';
import { coarse } from '../time/format';

const gapCauses: Record<GapCause, () => string> = {
  camera_offline: m.gap_camera_offline,
  camera_silent: m.gap_camera_silent,
  camera_faulty: m.gap_camera_faulty,
  recorder_stopped: m.gap_recorder_stopped,
  recorder_down: m.gap_recorder_down,
  disk_full: m.gap_disk_full,
  disk_failed: m.gap_disk_failed,
  clock_step: m.gap_clock_step,
  paused_by_rule: m.gap_paused_by_rule,
  tracks_changed: m.gap_tracks_changed,
};

/** Why a stretch has no footage. */
export function gapCause(cause: GapCause | null, pending = false, atEdge = false): string {
  if (atEdge) return m.gap_at_edge();
  if (cause !== null) return (gapCauses[cause] ?? (() => cause))();
  return pending ? m.gap_pending() : m.gap_unknown();
}

const states: Record<Interaction['state'], () => string> = {
  called: m.state_called,
  serving: m.state_serving,
  held: m.state_held,
  finished: m.state_finished,
  no_show: m.state_no_show,
  cancelled: m.state_cancelled,
  transferred: m.state_transferred,
  abandoned: m.state_abandoned,
};
export const interactionState = (state: Interaction['state']) => (states[state] ?? (() => state))();

const counterStates: Record<LiveState['state'], () => string> = {
  open: m.counter_open,
  paused: m.counter_paused,
  closed: m.counter_closed,
  unknown: m.counter_unknown,
};
export const counterState = (state: LiveState['state']) => (counterStates[state] ?? (() => state))();

const alerts: Record<Alert['kind'], () => string> = {
  recording_fault: m.alert_recording_fault,
  recorder_offline: m.alert_recorder_offline,
  long_service: m.alert_long_service,
  low_rating: m.alert_low_rating,
  long_wait: m.alert_long_wait,
  lens_covered: m.alert_lens_covered,
  picture_black: m.alert_picture_black,
  picture_frozen: m.alert_picture_frozen,
  picture_defocused: m.alert_picture_defocused,
  scene_moved: m.alert_scene_moved,
  sound_dead: m.alert_sound_dead,
  sound_clipped: m.alert_sound_clipped,
  sound_hum: m.alert_sound_hum,
  sound_absent: m.alert_sound_absent,
  clock_off: m.alert_clock_off,
  disk_forecast: m.alert_disk_forecast,
  disk_low: m.alert_disk_low,
  disk_failed: m.alert_disk_failed,
  retrieval_failed: m.alert_retrieval_failed,
  backlog_grows: m.alert_backlog_grows,
};
export const alertKind = (kind: Alert['kind']) => (alerts[kind] ?? (() => kind))();

const streamStates: Record<Stream['state'], () => string> = {
  recording: m.stream_recording,
  fault: m.stream_fault,
  offline: m.stream_offline,
  unknown: m.stream_unknown,
};
export const streamState = (state: Stream['state']) => (streamStates[state] ?? (() => state))();

const viewpoints: Record<string, () => string> = { front: m.viewpoint_front, desk: m.viewpoint_desk };
export const viewpointName = (viewpoint: string) => (viewpoints[viewpoint] ?? (() => viewpoint))();

const understood: Record<Understood['kind'], () => string> = {
  dossier: m.search_kind_dossier,
  ticket: m.search_kind_ticket,
  officer: m.search_kind_officer,
  procedure: m.search_kind_procedure,
  counter: m.search_kind_counter,
  date: m.search_kind_date,
  time: m.search_kind_time,
  text: m.search_kind_text,
};
export const understoodKind = (kind: Understood['kind']) => (understood[kind] ?? (() => kind))();

const events: Record<string, () => string> = {
  'ticket.issued': m.event_ticket_issued,
  'ticket.called': m.event_ticket_called,
  'ticket.recalled': m.event_ticket_recalled,
  'ticket.serving_started': m.event_ticket_serving_started,
  'ticket.held': m.event_ticket_held,
  'ticket.resumed': m.event_ticket_resumed,
  'ticket.transferred': m.event_ticket_transferred,
  'ticket.no_show': m.event_ticket_no_show,
  'ticket.finished': m.event_ticket_finished,
  'ticket.cancelled': m.event_ticket_cancelled,
  'dossier.scanned': m.event_dossier_scanned,
  'dossier.status_changed': m.event_dossier_status_changed,
  'rating.given': m.event_rating_given,
  'counter.opened': m.event_counter_opened,
  'counter.paused': m.event_counter_paused,
  'counter.closed': m.event_counter_closed,
  'officer.signed_in': m.event_officer_signed_in,
  'officer.signed_out': m.event_officer_signed_out,
};
export const eventType = (type: string) => (events[type] ?? (() => type))();

const roles: Record<Me['grants'][number]['role'], () => string> = {
  leader: m.role_leader,
  complaint_handler: m.role_complaint_handler,
  auditor: m.role_auditor,
  officer: m.role_officer,
  administrator: m.role_administrator,
  integrator: m.role_integrator,
  data_protection_officer: m.role_data_protection_officer,
};
export const roleName = (role: Me['grants'][number]['role']) => (roles[role] ?? (() => role))();

const provenances: Record<string, () => string> = {
  scan: m.provenance_scan,
  kiosk: m.provenance_kiosk,
  manual: m.provenance_manual,
};
export const provenanceName = (provenance: string) => (provenances[provenance] ?? (() => provenance))();

const reasons: Record<string, () => string> = {
  call_missing: m.why_call_missing,
  start_missing: m.why_start_missing,
  finish_missing: m.why_finish_missing,
  scan_missing: m.why_scan_missing,
  ticket_missing: m.why_ticket_missing,
  transfer_missing: m.why_transfer_missing,
  clock_ahead: m.why_clock_ahead,
  finish_late: m.why_finish_late,
};
export const confidenceReason = (reason: string) => (reasons[reason] ?? (() => reason))();

const fields: Record<string, () => string> = {
  rating: m.field_rating,
  state: m.field_state,
  start: m.field_start,
  end: m.field_end,
  officer: m.field_officer,
  procedure: m.field_procedure,
  dossiers: m.field_dossiers,
};
export const fieldName = (field: string) => (fields[field] ?? (() => field))();

const weekdays = [m.weekday_0, m.weekday_1, m.weekday_2, m.weekday_3, m.weekday_4, m.weekday_5, m.weekday_6];
/** The weekday of a business date. */
export const weekdayName = (date: string) => weekdays[new Date(`${date}T00:00:00Z`).getUTCDay()]!();

/** `4 phút`: a length of time in its largest unit. */
export function age(seconds: number): string {
  const { unit, count } = coarse(seconds);
  switch (unit) {
    case 'second':
      return m.age_second({ count });
    case 'minute':
      return m.age_minute({ count });
    case 'hour':
      return m.age_hour({ count });
    case 'day':
      return m.age_day({ count });
  }
}

/** From here on an offset of a clock is told in its largest unit. */
const CLOCK_COARSE_MS = 10_000;
/** `chậm 148 ms`: how far a clock is from the centre's, and to which side. */
export function clockOffset(ms: number): string {
  const size = Math.abs(ms);
  const amount = size < CLOCK_COARSE_MS ? `${size} ms` : age(size / 1000);
  if (ms === 0) return amount;
  return ms > 0 ? m.devices_clock_fast({ amount }) : m.devices_clock_slow({ amount });
}

const warnings: Record<string, () => string> = {
  unrecognised: m.warning_unrecognised,
  too_long: m.warning_too_long,
  extracted: m.warning_extracted,
  separators_repaired: m.warning_separators_repaired,
  input_method_repaired: m.warning_input_method_repaired,
  date_impossible: m.warning_date_impossible,
};
/** What was odd about a dossier's code as it came. */
export const dossierWarning = (warning: string) => (warnings[warning] ?? (() => warning))();
